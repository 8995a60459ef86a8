#include "ir/channel_slots.h"

#include <algorithm>

namespace pare {
namespace {

/// Axes of a value that have slots: none where the shape is not known.
const Shape& slot_shape(const Graph& graph, ValueId id) {
  static const Shape kNone;
  const TensorType& type = graph.type(id);
  return type.known() ? type.shape : kNone;
}

uint32_t total_slots(const Graph& graph) {
  int64_t total = 0;
  for (uint32_t i = 0; i < graph.value_count(); ++i) {
    for (int64_t extent : slot_shape(graph, ValueId{i})) total += extent;
  }
  if (total >= int64_t{1} << 31)
    throw Error(ErrorKind::kUnsupported, "the model has too many channels to group");
  return static_cast<uint32_t>(total);
}

}  // namespace

ChannelSlots::ChannelSlots(const Graph& graph)
    : graph_(&graph),
      sets_(total_slots(graph)),
      fixed_set_(sets_.size()),
      pins_(sets_.size(), kFree),
      touched_(graph.value_count()) {
  uint32_t next = 0;
  for (uint32_t i = 0; i < graph.value_count(); ++i) {
    first_slot_.push_back(next);
    for (int64_t extent : slot_shape(graph, ValueId{i})) next += static_cast<uint32_t>(extent);
  }
}

int64_t ChannelSlots::extent(Dim dim) const {
  const Shape& shape = slot_shape(*graph_, dim.value);
  PARE_CHECK(dim.axis >= 0 && dim.axis < static_cast<int>(shape.size()), "slot axis out of range");
  return shape[static_cast<size_t>(dim.axis)];
}

uint32_t ChannelSlots::slot(Dim dim, int64_t index) const {
  PARE_CHECK(index >= 0 && index < extent(dim), "slot index out of range");
  const Shape& shape = slot_shape(*graph_, dim.value);
  uint32_t first = first_slot_[pare::index(dim.value)];
  for (int axis = 0; axis < dim.axis; ++axis)
    first += static_cast<uint32_t>(shape[static_cast<size_t>(axis)]);
  return first + static_cast<uint32_t>(index);
}

void ChannelSlots::touch(Dim dim) {
  (void)extent(dim);
  auto& axes = touched_[pare::index(dim.value)];
  axes.resize(slot_shape(*graph_, dim.value).size());
  axes[static_cast<size_t>(dim.axis)] = true;
}

void ChannelSlots::unite(uint32_t a, uint32_t b) {
  const bool fixed = fixed_set_[sets_.find(a)] || fixed_set_[sets_.find(b)];
  sets_.unite(a, b);
  fixed_set_[sets_.find(a)] = fixed;
}

void ChannelSlots::mark_fixed(Dim dim, int64_t first, int64_t last) {
  for (int64_t i = first; i < last; ++i) fixed_set_[sets_.find(slot(dim, i))] = true;
}

int64_t ChannelSlots::unfixed(Dim dim) const {
  int64_t count = 0;
  for (int64_t i = 0; i < extent(dim); ++i) count += !fixed_set_[group_of(dim, i)];
  return count;
}

void ChannelSlots::tie_at(Dim a, Dim b, int64_t offset) {
  touch(a), touch(b);
  for (int64_t i = 0; i < extent(a); ++i) unite(slot(a, i), slot(b, offset + i));
}

void ChannelSlots::tie_blocks(Dim a, Dim b, int64_t block) {
  touch(a), touch(b);
  PARE_CHECK(extent(a) * block == extent(b), "tied axes disagree on their extent");
  for (int64_t i = 0; i < extent(b); ++i) unite(slot(a, i / block), slot(b, i));
}

void ChannelSlots::tie_strided(Dim a, Dim b, int64_t inner) {
  touch(a), touch(b);
  PARE_CHECK(extent(b) % (extent(a) * inner) == 0, "tied axes disagree on their extent");
  for (int64_t j = 0; j < extent(b); ++j) unite(slot(a, j / inner % extent(a)), slot(b, j));
}

void ChannelSlots::tie_one(Dim a, int64_t i, Dim b, int64_t j) {
  touch(a), touch(b);
  unite(slot(a, i), slot(b, j));
}

void ChannelSlots::tie_periodic(Dim a, int64_t period) {
  touch(a);
  for (int64_t i = period; i < extent(a); ++i) unite(slot(a, i), slot(a, i % period));
}

void ChannelSlots::fix(Dim dim) {
  touch(dim);
  mark_fixed(dim, 0, extent(dim));
  fixed_.push_back({dim, -1, current_});
}

void ChannelSlots::fix_one(Dim dim, int64_t index) {
  touch(dim);
  mark_fixed(dim, index, index + 1);
  fixed_.push_back({dim, index, current_});
}

void ChannelSlots::fix_rest(ValueId value) {
  if (value == kNoValue) return;
  auto& axes = touched_[pare::index(value)];
  axes.resize(slot_shape(*graph_, value).size());
  for (size_t axis = 0; axis < axes.size(); ++axis) {
    if (!axes[axis]) fix({value, static_cast<int>(axis)});
  }
}

uint32_t ChannelSlots::group_of(Dim dim, int64_t index) const {
  return sets_.find(slot(dim, index));
}

std::string ChannelSlots::pin(uint32_t group) const {
  const Pin* cause = pin_cause(group);
  if (!cause) return {};
  const Pin& pin = *cause;
  const std::string what =
      "axis " + std::to_string(pin.dim.axis) + " of '" + graph_->value(pin.dim.value).name + "'";
  return pin.node ? describe(graph_->node(*pin.node)) + " fixes " + what
                  : what + " is part of the model's interface";
}

std::vector<int64_t> ChannelSlots::surviving(Dim dim,
                                             const std::function<bool(uint32_t)>& doomed) const {
  std::vector<int64_t> keep;
  for (int64_t i = 0; i < extent(dim); ++i) {
    if (!doomed(group_of(dim, i))) keep.push_back(i);
  }
  return keep;
}

void ChannelSlots::run_rule(NodeId id) {
  const Node& node = graph_->node(id);
  current_ = id;
  std::vector<ValueId> operands = node.inputs;
  operands.insert(operands.end(), node.outputs.begin(), node.outputs.end());
  std::erase(operands, kNoValue);
  for (ValueId operand : operands) touched_[pare::index(operand)].clear();

  const bool known =
      std::ranges::all_of(operands, [&](ValueId id) { return graph_->type(id).known(); });
  if (node.def && node.def->tie && (known || node.def->ties_unknown)) {
    with_context([&] { return describe(node); }, [&] { node.def->tie(*graph_, node, *this); });
  } else {
    for (ValueId operand : operands) fix_rest(operand);
  }
  for (ValueId operand : operands) {
    const auto& axes = touched_[pare::index(operand)];
    for (size_t axis = 0; axis < slot_shape(*graph_, operand).size(); ++axis) {
      PARE_CHECK(axis < axes.size() && axes[axis],
                 "tie rule of " + node.op + " says nothing about axis " + std::to_string(axis) +
                     " of '" + graph_->value(operand).name + "'");
    }
  }
}

void ChannelSlots::pin_interface(const std::vector<Dim>& open) {
  current_.reset();
  const auto pin_axes = [&](ValueId value) {
    for (int axis = 0; axis < static_cast<int>(slot_shape(*graph_, value).size()); ++axis) {
      if (std::ranges::find(open, Dim{value, axis}) == open.end()) fix({value, axis});
    }
  };
  std::ranges::for_each(graph_->inputs(), pin_axes);
  std::ranges::for_each(graph_->outputs(), pin_axes);
}

ChannelSlots ChannelSlots::analyze(const Graph& graph, const std::vector<Dim>& open) {
  ChannelSlots slots(graph);
  slots.reducing_classes_ = !open.empty();
  const auto run_rules = [&](bool last) {
    for (NodeId id : graph.order()) {
      const OpDef* def = graph.node(id).def;
      if ((def && def->ties_last) == last) slots.run_rule(id);
    }
  };
  run_rules(false);
  slots.pin_interface(open);
  run_rules(true);
  for (uint32_t p = 0; p < slots.fixed_.size(); ++p) {
    const Pin& pin = slots.fixed_[p];
    const int64_t first = pin.index < 0 ? 0 : pin.index;
    const int64_t last = pin.index < 0 ? slots.extent(pin.dim) : pin.index + 1;
    for (int64_t i = first; i < last; ++i) {
      uint32_t& entry = slots.pins_[slots.group_of(pin.dim, i)];
      if (entry == kFree) entry = p;
    }
  }
  return slots;
}

}  // namespace pare
