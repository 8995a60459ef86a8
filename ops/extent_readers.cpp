#include "ops/extent_readers.h"

#include <algorithm>
#include <deque>
#include <iterator>
#include <map>

namespace pare {
namespace {

/// By element of a value, a bit for each axis whose extent it depends on.
using Masks = std::vector<int64_t>;

constexpr size_t kMaxRank = 63;

/// Operands that only say which shape a result has, and that OpDef::resize repairs.
constexpr std::pair<std::string_view, uint32_t> kRepaired[] = {
    {"Expand", 1}, {"Reshape", 1}, {"Resize", 3}, {"Slice", 1}, {"Slice", 2}};

/// Operators that move elements of operand 0 (of every operand, for Concat).
constexpr std::string_view kMoving[] = {"Concat",  "Expand",    "Flatten",  "Gather",
                                        "Reshape", "Slice",     "Split",    "Squeeze",
                                        "Tile",    "Transpose", "Unsqueeze"};

/// Operators that compute elements from elements.
constexpr std::string_view kElementwise[] = {
    "Abs",  "Add", "And", "Cast", "Ceil", "Clip", "Div", "Equal", "Floor", "Greater", "Identity",
    "Less", "Max", "Min", "Mod",  "Mul",  "Neg",  "Not", "Or",    "Relu",  "Sub",     "Where"};

template <typename List>
bool contains(const List& list, std::string_view op) {
  return std::ranges::find(list, op) != std::end(list);
}

class Follower {
 public:
  explicit Follower(const Graph& graph) : graph_(graph) {}

  int64_t frozen(ValueId start, Masks masks) {
    add(start, std::move(masks));
    while (!pending_.empty()) {
      const ValueId value = pending_.front();
      pending_.pop_front();
      for (const Use& use : graph_.value(value).uses) visit(graph_.node(use.node), use.slot);
    }
    return frozen_;
  }

 private:
  static int64_t join(const Masks& masks) {
    int64_t all = 0;
    for (int64_t mask : masks) all |= mask;
    return all;
  }

  /// Records that elements of `id` depend on extents, and goes on from there if that is news.
  void add(ValueId id, Masks masks) {
    if (id == kNoValue || join(masks) == 0) return;
    const Value& value = graph_.value(id);
    if (!value.known || graph_.is_output(id)) {
      frozen_ |= join(masks);
      return;
    }
    Masks& now = masks_[index(id)];
    now.resize(masks.size());
    bool news = false;
    for (size_t i = 0; i < masks.size(); ++i) {
      news = news || (masks[i] & ~now[i]) != 0;
      now[i] |= masks[i];
    }
    if (news) pending_.push_back(id);
  }

  void visit(const Node& node, uint32_t slot) {
    const std::pair<std::string_view, uint32_t> operand{node.op, slot};
    const bool known = node.def && node.domain.empty() && node.captures == 0;
    if (known && (node.op == "Shape" || node.op == "Size")) return;
    if (known && std::ranges::find(kRepaired, operand) != std::end(kRepaired)) return;
    if (known && contains(kMoving, node.op) && (slot == 0 || node.op == "Concat")) {
      move(node);
    } else if (known && contains(kElementwise, node.op) && !multiplies_dynamic(node)) {
      combine(node);
    } else {
      frozen_ |= join(masks_[index(node.inputs[slot])]);
    }
  }

  /// A product with a batch is not repaired by adding a constant (see repair_integers).
  bool multiplies_dynamic(const Node& node) const {
    const auto dynamic = [&](ValueId id) { return id != kNoValue && graph_.value(id).dynamic; };
    return node.op == "Mul" && std::ranges::count_if(node.inputs, dynamic) > 1;
  }

  /// Moves the masks the way the node moves elements.
  void move(const Node& node) {
    std::deque<Tensor> masks;
    std::vector<const Tensor*> operands;
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const ValueId id = node.inputs[i];
      if (i > 0 && node.op != "Concat") {
        const Value* value = id == kNoValue ? nullptr : &graph_.value(id);
        operands.push_back(!value ? nullptr
                                  : (value->constant ? value->constant : value->known).get());
        if (value && !operands.back()) return freeze_operands(node);
      } else {
        if (!graph_.type(id).known()) return freeze_operands(node);
        const Shape& shape = graph_.shape(id);
        Masks own = masks_.contains(index(id)) ? masks_[index(id)] : Masks{};
        own.resize(static_cast<size_t>(element_count(shape)));
        operands.push_back(&masks.emplace_back(shape, own));
      }
    }
    const std::vector<Tensor> results = node.def->eval(node, operands);
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      const std::span<const int64_t> result = results[i].data<int64_t>();
      add(node.outputs[i], {result.begin(), result.end()});
    }
  }

  /// Element by element where the shapes agree, everything with everything where they do not.
  void combine(const Node& node) {
    const ValueId y = node.outputs[0];
    if (!graph_.type(y).known()) return freeze_operands(node);
    Masks masks(static_cast<size_t>(element_count(graph_.shape(y))));
    for (ValueId id : node.inputs) {
      if (id == kNoValue || !masks_.contains(index(id))) continue;
      const Masks& own = masks_[index(id)];
      const bool aligned = graph_.shape(id) == graph_.shape(y);
      for (size_t i = 0; i < masks.size(); ++i) masks[i] |= aligned ? own[i] : join(own);
    }
    add(y, std::move(masks));
  }

  void freeze_operands(const Node& node) {
    for (ValueId id : node.inputs) {
      if (id != kNoValue && masks_.contains(index(id))) frozen_ |= join(masks_[index(id)]);
    }
  }

  const Graph& graph_;
  std::map<uint32_t, Masks> masks_;
  std::deque<ValueId> pending_;
  int64_t frozen_ = 0;
};

}  // namespace

std::vector<bool> frozen_extents(const Graph& graph, const Node& node,
                                 const std::vector<std::vector<size_t>>& axes, size_t rank) {
  if (rank > kMaxRank) return std::vector<bool>(rank, true);
  Masks masks;
  for (const std::vector<size_t>& read : axes) {
    int64_t mask = 0;
    for (size_t axis : read) mask |= int64_t{1} << axis;
    masks.push_back(mask);
  }
  const int64_t frozen = Follower(graph).frozen(node.outputs[0], std::move(masks));
  std::vector<bool> flags;
  for (size_t axis = 0; axis < rank; ++axis) flags.push_back((frozen >> axis & 1) != 0);
  return flags;
}

}  // namespace pare
