#include "passes/graph_edit.h"

#include <algorithm>

namespace pare {

bool can_replace(const Graph& graph, ValueId from, ValueId to) {
  if (!graph.is_output(from)) return true;
  const bool input = std::ranges::find(graph.inputs(), to) != graph.inputs().end();
  return !graph.is_output(to) && !input && !graph.value(to).constant;
}

int64_t remove_unused_nodes(Graph& graph) {
  int64_t removed = 0;
  const std::vector<NodeId> order = graph.order();  // A copy: remove_node() changes it.
  for (auto id = order.rbegin(); id != order.rend(); ++id) {
    const bool unused = std::ranges::all_of(graph.node(*id).outputs, [&](ValueId output) {
      return output == kNoValue || (graph.value(output).uses.empty() && !graph.is_output(output));
    });
    if (!unused) continue;
    graph.remove_node(*id);
    ++removed;
  }
  return removed;
}

std::vector<double> to_double(const Tensor& tensor) {
  const Tensor wide = cast(tensor, DType::kF64);
  const std::span<const double> elements = wide.data<double>();
  return {elements.begin(), elements.end()};
}

Tensor from_double(const std::vector<double>& elements, TensorType type) {
  return cast(Tensor(std::move(type.shape), elements), type.dtype);
}

void replace_constant(Graph& graph, NodeId node, size_t slot, Tensor tensor) {
  const ValueId old = graph.node(node).inputs[slot];
  if (graph.sole_user(old) == node) {
    graph.set_constant(old, std::move(tensor));
    return;
  }
  const std::string name = graph.value(old).name;
  graph.set_input(node, slot, graph.add_constant(name, std::move(tensor)));
}

void set_constant_operand(Graph& graph, NodeId id, size_t slot, Tensor tensor) {
  const Node& node = graph.node(id);
  const ValueId old = node.has_input(slot) ? node.inputs[slot] : kNoValue;
  if (old != kNoValue && graph.value(old).uses.size() == 1 &&
      graph.constant(old)->shape() == tensor.shape()) {
    graph.set_constant(old, std::move(tensor));
    return;
  }
  const std::string name =
      old != kNoValue ? graph.value(old).name : graph.value(node.outputs[0]).name + "_bias";
  graph.set_input(id, slot, graph.add_constant(name, std::move(tensor)));
}

}  // namespace pare
