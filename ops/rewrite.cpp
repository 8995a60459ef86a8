#include "ops/rewrite.h"

#include "ops/axes.h"

namespace pare {
namespace {

/// Integers as a tensor of the type and shape of `model`.
Tensor integers_like(const Tensor& model, const std::vector<int64_t>& values) {
  return cast(Tensor(model.shape(), values), model.dtype());
}

}  // namespace

void repair_integers(Graph& graph, NodeId id, size_t slot, const std::vector<int64_t>& wanted) {
  const ValueId operand = graph.node(id).inputs[slot];
  const Value& value = graph.value(operand);
  const TensorRef now = value.constant ? value.constant : value.known;
  PARE_CHECK(now, "operand '" + value.name + "' has no known elements to repair");
  const std::vector<int64_t> elements = to_int64(*now);
  if (elements == wanted) return;
  PARE_CHECK(elements.size() == wanted.size(), "a repaired operand changes its length");

  if (value.constant && value.uses.size() == 1 && !graph.is_output(operand)) {
    graph.set_constant(operand, integers_like(*now, wanted));
  } else if (value.constant || !value.dynamic) {
    const std::string name = value.name + "_resized";
    graph.set_input(id, slot, graph.add_constant(name, integers_like(*now, wanted)));
  } else {
    std::vector<int64_t> difference;
    for (size_t i = 0; i < wanted.size(); ++i) difference.push_back(wanted[i] - elements[i]);
    const std::string name = value.name + "_resized";
    const ValueId delta = graph.add_constant(name + "_by", integers_like(*now, difference));
    graph.set_input(id, slot, graph.insert_node(id, "Add", {operand, delta}, {}, name));
  }
}

void repair_integers(Graph& graph, NodeId id, std::string_view name, size_t slot,
                     const std::vector<int64_t>& wanted) {
  if (!name.empty() && graph.node(id).has_attribute(name)) {
    graph.set_attribute(id, std::string(name), wanted);
  } else {
    repair_integers(graph, id, slot, wanted);
  }
}

void attribute_to_operand(Graph& graph, NodeId id, const std::string& name, size_t slot) {
  const Node& node = graph.node(id);
  if (!node.has_attribute(name)) return;
  const std::vector<int64_t> values = int_list(node, name, Operands{}, 0).values;
  const auto count = static_cast<int64_t>(values.size());
  graph.set_input(id, slot, graph.add_constant(node.name + "_" + name, Tensor({count}, values)));
  graph.remove_attribute(id, name);
}

bool is_dynamic(const Graph& graph, const Node& node, size_t slot) {
  return node.has_input(slot) && !graph.constant(node.inputs[slot]) &&
         graph.value(node.inputs[slot]).dynamic;
}

}  // namespace pare
