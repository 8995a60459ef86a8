#include "passes/remove_slots.h"

#include <algorithm>

namespace pare {
namespace {

/// Surviving old indices, by axis.
using Kept = std::vector<std::vector<int64_t>>;

/// The graph's shapes before and after, decided on the old graph: slots describe it as it was.
struct Plan {
  std::vector<Shape> old_shapes, new_shapes;  ///< By value; empty where not known.
  std::vector<Kept> kept;                     ///< By value.
  std::vector<TensorRef> old_elements;        ///< By value; null where not known.
};

Plan plan_removal(const Graph& graph, const ChannelSlots& slots,
                  const std::function<bool(uint32_t)>& doomed) {
  std::vector<bool> gone(slots.size());
  for (uint32_t group = 0; group < slots.size(); ++group) gone[group] = doomed(group);
  const auto is_gone = [&](uint32_t group) {
    if (!gone[group]) return false;
    PARE_CHECK(!slots.pinned(group), "a pinned group is doomed: " + slots.pin(group));
    return true;
  };

  Plan plan;
  for (uint32_t i = 0; i < graph.value_count(); ++i) {
    const Value& value = graph.value(ValueId{i});
    const Shape shape = value.type.known() ? value.type.shape : Shape{};
    Shape& smaller = plan.new_shapes.emplace_back();
    Kept& kept = plan.kept.emplace_back();
    for (int axis = 0; axis < static_cast<int>(shape.size()); ++axis) {
      kept.push_back(slots.surviving({ValueId{i}, axis}, is_gone));
      smaller.push_back(static_cast<int64_t>(kept.back().size()));
      PARE_CHECK(smaller.back() > 0 || shape[static_cast<size_t>(axis)] == 0,
                 "'" + value.name + "' would lose the whole of axis " + std::to_string(axis));
    }
    plan.old_shapes.push_back(shape);
    plan.old_elements.push_back(value.constant ? value.constant : value.known);
  }
  return plan;
}

int64_t slice_constants(Graph& graph, const Plan& plan) {
  int64_t removed = 0;
  for (uint32_t i = 0; i < graph.value_count(); ++i) {
    const TensorRef constant = graph.value(ValueId{i}).constant;
    if (!constant || plan.old_shapes[i] == plan.new_shapes[i]) continue;
    Tensor tensor = *constant;
    for (size_t axis = 0; axis < plan.kept[i].size(); ++axis) {
      const int64_t lost = plan.old_shapes[i][axis] - plan.new_shapes[i][axis];
      if (lost > 0) tensor = gather(tensor, static_cast<int>(axis), plan.kept[i][axis]);
      removed += lost;
    }
    graph.set_constant(ValueId{i}, std::move(tensor));
  }
  return removed;
}

/// Collects `field` of each of a node's operands or outputs.
template <typename T>
std::vector<T> pick(const std::vector<ValueId>& ids, const std::vector<T>& field) {
  std::vector<T> result;
  for (ValueId id : ids) result.push_back(id == kNoValue ? T{} : field[index(id)]);
  return result;
}

void resize(Graph& graph, NodeId id, const Plan& plan) {
  const Node& node = graph.node(id);
  if (!node.def || !node.def->resize) return;
  const std::vector<Shape> old_inputs = pick(node.inputs, plan.old_shapes),
                           new_inputs = pick(node.inputs, plan.new_shapes),
                           new_outputs = pick(node.outputs, plan.new_shapes);
  // An operand that shape arithmetic computes may come out otherwise now although no shape changed.
  const bool computed = std::ranges::any_of(
      node.inputs, [&](ValueId input) { return input != kNoValue && graph.value(input).known; });
  if (old_inputs == new_inputs && pick(node.outputs, plan.old_shapes) == new_outputs && !computed)
    return;
  const std::vector<Kept> kept_inputs = pick(node.inputs, plan.kept),
                          kept_outputs = pick(node.outputs, plan.kept);
  std::vector<TensorType> old_types;
  for (ValueId input : node.inputs)
    old_types.push_back(input == kNoValue ? TensorType{} : graph.type(input));
  const std::vector<TensorRef> old_elements = pick(node.inputs, plan.old_elements);
  std::vector<Operand> old_operands(old_inputs.size());
  for (size_t i = 0; i < old_inputs.size(); ++i) {
    if (node.inputs[i] == kNoValue) continue;
    old_types[i].shape = old_inputs[i];
    old_operands[i] = {&old_types[i], old_elements[i].get()};
  }
  with_context([&] { return describe(graph.node(id)); },
               [&] {
                 node.def->resize(graph, id,
                                  {.old_inputs = old_inputs,
                                   .new_inputs = new_inputs,
                                   .new_outputs = new_outputs,
                                   .kept_inputs = kept_inputs,
                                   .kept_outputs = kept_outputs,
                                   .old_operands = old_operands});
               });
}

void check_shapes(const Graph& graph, NodeId id, const Plan& plan) {
  for (ValueId output : graph.node(id).outputs) {
    if (output == kNoValue || plan.new_shapes[index(output)].empty()) continue;
    PARE_CHECK(graph.type(output).shape == plan.new_shapes[index(output)],
               describe(graph.node(id)) + " was left with an output of " +
                   to_string(graph.type(output)) + " where slots of " +
                   to_string(plan.new_shapes[index(output)]) + " survive");
  }
}

Cut cut_of(const Plan& plan) {
  Cut cut;
  for (uint32_t i = 0; i < plan.kept.size(); ++i)
    for (size_t axis = 0; axis < plan.kept[i].size(); ++axis)
      if (plan.new_shapes[i][axis] < plan.old_shapes[i][axis])
        cut[ValueId{i}][static_cast<int>(axis)] = plan.kept[i][axis];
  return cut;
}

}  // namespace

int64_t remove_slots(Graph& graph, const ChannelSlots& slots,
                     const std::function<bool(uint32_t)>& doomed) {
  const Plan plan = plan_removal(graph, slots, doomed);
  const int64_t removed = slice_constants(graph, plan);
  const std::vector<NodeId> order = graph.order();  // A resize rule may add nodes.
  for (NodeId id : order) {
    resize(graph, id, plan);
    graph.infer_types(id);  // The next node's resize reads the new shapes.
    check_shapes(graph, id, plan);
  }
  graph.add_cut(cut_of(plan));
  return removed;
}

}  // namespace pare
