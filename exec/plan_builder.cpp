#include "exec/plan_builder.h"

#include <algorithm>

namespace pare {
namespace {

using Type = dnnl::memory::data_type;

constexpr size_t kMostAxes = 6;

Type type_of(DType dtype) {
  switch (dtype) {
    case DType::kU8:
      return Type::u8;
    case DType::kI8:
      return Type::s8;
    case DType::kI32:
      return Type::s32;
    default:
      PARE_CHECK(dtype == DType::kF32, "an element type that primitives do not take");
      return Type::f32;
  }
}

/// Extents a primitive can take.
bool has_extents(const TensorType& type) {
  return type.known() && !type.shape.empty() && type.shape.size() <= kMostAxes &&
         std::ranges::all_of(type.shape, [](int64_t extent) { return extent > 0; });
}

/// "aBcd16b": outer axes by stride, a capital for one that is blocked inside.
std::string layout_name(const Desc& desc) {
  const dnnl_memory_desc_t& d = desc.data;
  if (d.format_kind != dnnl_blocked) return "";
  const dnnl_blocking_desc_t& blocking = d.format_desc.blocking;
  std::vector<int> axes(static_cast<size_t>(d.ndims));
  for (size_t i = 0; i < axes.size(); ++i) axes[i] = static_cast<int>(i);
  std::ranges::stable_sort(axes,
                           [&](int a, int b) { return blocking.strides[a] > blocking.strides[b]; });
  std::string outer, inner;
  for (int axis : axes) {
    const auto* end = blocking.inner_idxs + blocking.inner_nblks;
    const bool blocked = std::find(blocking.inner_idxs, end, axis) != end;
    outer += static_cast<char>((blocked ? 'A' : 'a') + axis);
  }
  for (int i = 0; i < blocking.inner_nblks; ++i)
    inner += std::to_string(blocking.inner_blks[i]) +
             static_cast<char>('a' + static_cast<int>(blocking.inner_idxs[i]));
  return outer + inner;
}

}  // namespace

Shape dense_strides(const Shape& shape) {
  Shape strides(shape.size(), 1);
  for (size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * shape[i];
  return strides;
}

Desc strided_desc(const Shape& shape, const Shape& strides, DType dtype) {
  return Desc(Dims(shape.begin(), shape.end()), type_of(dtype),
              Dims(strides.begin(), strides.end()));
}

Desc plain_desc(const Shape& shape, DType dtype) {
  return strided_desc(shape, dense_strides(shape), dtype);
}

Desc any_desc(const Shape& shape, DType dtype) {
  return Desc(Dims(shape.begin(), shape.end()), type_of(dtype), dnnl::memory::format_tag::any);
}

Desc retyped(Desc desc, DType dtype) {
  desc.data.data_type = static_cast<dnnl_data_type_t>(type_of(dtype));
  return desc;
}

dnnl::primitive_attr plain_attributes() {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attributes;
}

bool is_fast(const dnnl::primitive_desc_base& pd) {
  return !std::string_view(pd.impl_info_str()).starts_with("ref");
}

PlanBuilder::PlanBuilder(PlanCode& code, ElementOrder order)
    : code_(code),
      order_(order),
      slots_of_(code.graph.value_count()),
      last_read_(code.graph.value_count()),
      evaluated_(code.graph.value_count()) {
  for (size_t i = 0; i < code.graph.inputs().size(); ++i) {
    const ValueId id = code.graph.inputs()[i];
    slots_of_[index(id)] = {
        add_slot({.desc = plain_desc_of(id), .home = Home::kInput, .place = i})};
    code.inputs.push_back(slots_of_[index(id)][0]);
  }
}

bool PlanBuilder::is_dense(ValueId id) const {
  return id != kNoValue && graph().type(id).dtype == DType::kF32 && has_extents(graph().type(id));
}

bool PlanBuilder::is_byte(ValueId id) const {
  if (id == kNoValue || !has_extents(graph().type(id))) return false;
  const DType dtype = graph().type(id).dtype;
  return dtype == DType::kU8 || dtype == DType::kI8;
}

Desc PlanBuilder::plain_desc_of(ValueId id) const {
  if (!is_dense(id) && !is_byte(id)) return Desc();
  return plain_desc(graph().shape(id), graph().type(id).dtype);
}

SlotId PlanBuilder::add_slot(Slot slot) {
  code_.slots.push_back(std::move(slot));
  last_step_.push_back(0);
  return code_.slots.size() - 1;
}

void PlanBuilder::count_uses(const std::vector<FusedNode>& groups) {
  size_t position = 0;
  for (const FusedNode& group : groups) {
    for (NodeId id : group.nodes) {
      for (ValueId input : graph().node(id).inputs) {
        if (input != kNoValue) last_read_[index(input)] = position;
      }
      ++position;
    }
    if (!group.quantized) continue;
    for (ValueId input : group.reads(graph())) last_read_[index(input)] = position - 1;
  }
  for (ValueId output : graph().outputs()) last_read_[index(output)] = position;
  count_constants(groups);
}

Desc PlanBuilder::desc_of(ValueId id) {
  if (slots_of_[index(id)].empty()) constant_slot(id);
  return code_.slots[slots_of_[index(id)][0]].desc;
}

Desc PlanBuilder::common_desc(ValueId a, ValueId b) {
  const Desc first = desc_of(a);
  if (first != plain_desc_of(a) || graph().shape(a) != graph().shape(b)) return first;
  return retyped(desc_of(b), graph().type(a).dtype);
}

void PlanBuilder::touch(SlotId id) {
  const Slot& slot = code_.slots[id];
  last_step_[slot.alias_of.value_or(id)] = code_.steps.size();
  if (slot.home == Home::kArena) buffers_[slot.place].last = code_.steps.size();
  if (slot.home == Home::kConstant) code_.constants[slot.place].read = true;
}

SlotId PlanBuilder::slot_in(ValueId id, const Desc& desc) {
  const SlotId made = slots_of_[index(id)].empty() ? constant_slot(id) : slots_of_[index(id)][0];
  for (SlotId slot : slots_of_[index(id)]) {
    if (code_.slots[slot].desc == desc) return slot;
  }
  SlotId copy = 0;
  if (code_.slots[made].home == Home::kConstant) {
    copy = pack(*graph().constant(id), code_.slots[made].desc, desc);
  } else {
    copy = reorder_to(made, desc);
  }
  slots_of_[index(id)].push_back(copy);
  return copy;
}

SlotId PlanBuilder::plain_slot(ValueId id) { return slot_in(id, plain_desc_of(id)); }

SlotId PlanBuilder::alias(SlotId slot, const Desc& desc) {
  const SlotId root = code_.slots[slot].alias_of.value_or(slot);
  const Slot& source = code_.slots[root];
  const SlotId other =
      add_slot({.desc = desc, .home = source.home, .place = source.place, .alias_of = root});
  code_.slots[root].aliases.push_back(other);
  return other;
}

std::optional<SlotId> PlanBuilder::slot_like(ValueId id, const Desc& desc) {
  const Shape& shape = graph().shape(id);
  const Dims dims = desc.dims();
  if (shape == Shape(dims.begin(), dims.end())) return slot_in(id, desc);
  if (desc != plain_desc(Shape(dims.begin(), dims.end())) ||
      element_count(shape) != element_count(Shape(dims.begin(), dims.end())))
    return {};
  return alias(plain_slot(id), desc);
}

bool PlanBuilder::shares(SlotId slot, const std::vector<SlotId>& others) const {
  const Slot& mine = code_.slots[slot];
  return std::ranges::any_of(others, [&](SlotId other) {
    return code_.slots[other].home == mine.home && code_.slots[other].place == mine.place;
  });
}

SlotId PlanBuilder::reorder_to(SlotId from, const Desc& desc) {
  buffers_.push_back({.bytes = desc.get_size(), .first = code_.steps.size()});
  buffer_last_read_.push_back(0);
  const SlotId to = add_slot({.desc = desc, .home = Home::kArena, .place = buffers_.size() - 1});
  dnnl::primitive_attr attributes = plain_attributes();
  const dnnl::reorder::primitive_desc pd(engine(), code_.slots[from].desc, engine(), desc,
                                         attributes);
  add_call({.primitive = dnnl::reorder(pd),
            .desc = &pd,
            .arguments = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}}},
           {}, desc);
  return to;
}

bool PlanBuilder::dies_here(ValueId id) const {
  return !graph().constant(id) && last_read_[index(id)] <= position_;
}

SlotId PlanBuilder::define(ValueId id, const Desc& desc, std::optional<SlotId> in_place) {
  size_t buffer = buffers_.size();
  if (in_place) {
    buffer = code_.slots[*in_place].place;
  } else {
    buffers_.push_back({.bytes = desc.get_size(), .first = code_.steps.size()});
    buffer_last_read_.push_back(0);
  }
  buffer_last_read_[buffer] = std::max(buffer_last_read_[buffer], last_read_[index(id)]);
  const SlotId slot = add_slot({.desc = desc, .home = Home::kArena, .place = buffer});
  slots_of_[index(id)] = {slot};
  return slot;
}

bool PlanBuilder::may_overwrite(ValueId id, SlotId slot) const {
  const Slot& s = code_.slots[slot];
  return s.home == Home::kArena && dies_here(id) && buffer_last_read_[s.place] <= position_;
}

void PlanBuilder::define_same(ValueId id, ValueId source, NodeId node) {
  const SlotId made = slots_of_[index(source)][0];
  const Slot& slot = code_.slots[made];
  if (slot.home != Home::kArena) return define_view(id, made, graph().shape(id), node);
  buffer_last_read_[slot.place] = std::max(buffer_last_read_[slot.place], last_read_[index(id)]);
  slots_of_[index(id)] = {alias(made, slot.desc)};
}

void PlanBuilder::define_view(ValueId id, SlotId slot, const Shape& shape, NodeId node) {
  const Slot source = code_.slots[slot];
  Slot view{.desc = plain_desc_of(id), .home = source.home, .place = source.place};
  if (source.home == Home::kArena) {
    buffer_last_read_[source.place] =
        std::max(buffer_last_read_[source.place], last_read_[index(id)]);
    slots_of_[index(id)] = {add_slot(std::move(view))};
    return;
  }
  view.home = Home::kTensor;
  slots_of_[index(id)] = {add_slot(std::move(view))};
  Step step{.inputs = {slot}, .outputs = {slots_of_[index(id)][0]}, .reshape = shape};
  touch(slot);
  touch(slots_of_[index(id)][0]);
  code_.steps.push_back(std::move(step));
  code_.infos.push_back({.kind = kind_of({node}), .implementation = "view", .nodes = {node}});
}

std::string PlanBuilder::kind_of(const std::vector<NodeId>& nodes) const {
  if (nodes.empty()) return "reorder";
  std::string kind;
  for (NodeId id : nodes) kind += (kind.empty() ? "" : " + ") + graph().node(id).op;
  return kind;
}

void PlanBuilder::add_call(Call call, const std::vector<NodeId>& nodes, const Desc& result) {
  for (const auto& [argument, slot] : call.arguments) touch(slot);
  Step step{.primitive = std::move(call.primitive),
            .arguments = std::move(call.arguments),
            .scratchpad = call.desc->scratchpad_desc()};
  code_.scratchpad_bytes = std::max(code_.scratchpad_bytes, step.scratchpad.get_size());
  code_.steps.push_back(std::move(step));
  code_.infos.push_back({.kind = kind_of(nodes),
                         .implementation = call.desc->impl_info_str(),
                         .layout = layout_name(result),
                         .nodes = nodes});
}

SlotId PlanBuilder::tensor_slot(ValueId id) {
  if (slots_of_[index(id)].empty()) return constant_slot(id);
  const SlotId made = slots_of_[index(id)][0];
  return code_.slots[made].home == Home::kArena ? plain_slot(id) : made;
}

void PlanBuilder::add_eval(NodeId id) {
  const Node& node = graph().node(id);
  for (ValueId input : node.inputs) {  // What a quantized group would have gone without.
    if (input != kNoValue && !graph().constant(input) && slots_of_[index(input)].empty())
      add_eval(*graph().value(input).producer);
  }
  Step step{.node = &node};
  for (ValueId input : node.inputs) {
    const bool computed = input != kNoValue && !graph().constant(input);
    if (input != kNoValue && !computed) evaluated_[index(input)] = true;
    step.inputs.push_back(computed ? std::optional(tensor_slot(input)) : std::nullopt);
  }
  for (ValueId output : node.outputs) {
    std::optional<SlotId>& slot = step.outputs.emplace_back();
    if (output == kNoValue) continue;
    slot = add_slot({.desc = plain_desc_of(output), .home = Home::kTensor});
    slots_of_[index(output)] = {*slot};
  }
  for (const auto* slots : {&step.inputs, &step.outputs}) {
    for (const std::optional<SlotId>& slot : *slots) {
      if (slot) touch(*slot);
    }
  }
  code_.steps.push_back(std::move(step));
  code_.infos.push_back({.kind = node.op, .implementation = "eval", .nodes = {id}});
}

SlotId PlanBuilder::observed_slot(ValueId id) {
  const SlotId made = slots_of_[index(id)][0];
  // A layout as large as the plain one has no padding between the elements.
  const bool whole = code_.slots[made].desc.get_size() == plain_desc_of(id).get_size();
  return order_ == ElementOrder::kAny && whole ? made : tensor_slot(id);
}

void PlanBuilder::finish_group(const FusedNode& group, const std::vector<bool>& observed) {
  for (NodeId id : group.nodes) {
    for (ValueId output : graph().node(id).outputs) {
      if (output == kNoValue || !observed[index(output)] || slots_of_[index(output)].empty())
        continue;
      const SlotId slot = observed_slot(output);
      PARE_CHECK(!code_.steps.empty(), "a value without a step is observed");
      code_.steps.back().observed.emplace_back(output, slot);
      last_step_[slot] = code_.steps.size() - 1;
      if (code_.slots[slot].home == Home::kArena)
        buffers_[code_.slots[slot].place].last = code_.steps.size() - 1;
    }
  }
  release_constants();
}

void PlanBuilder::finish() {
  for (ValueId output : graph().outputs()) code_.outputs.push_back(tensor_slot(output));
  for (SlotId output : code_.outputs) touch(output);  // All of them outlive the last step.
  ArenaLayout layout = lay_out_arena(buffers_);
  code_.offsets = std::move(layout.offsets);
  code_.arena_bytes = layout.bytes;
  for (SlotId slot = 0; slot < code_.slots.size(); ++slot) {
    if (code_.slots[slot].home == Home::kTensor && last_step_[slot] < code_.steps.size())
      code_.steps[last_step_[slot]].dying.push_back(slot);
  }
}

}  // namespace pare
