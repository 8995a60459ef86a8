#include "passes/dequantized.h"

#include "exec/interpreter.h"

namespace pare {

std::optional<Tensor> dequantized_constant(const Graph& graph, ValueId id) {
  if (id == kNoValue || !graph.value(id).producer) return {};
  const Node& node = graph.node(*graph.value(id).producer);
  if (node.op != "DequantizeLinear") return {};
  std::vector<const Tensor*> operands;
  for (const ValueId input : node.inputs) {
    operands.push_back(graph.constant(input));
    if (input != kNoValue && !operands.back()) return {};
  }
  return evaluate(node, operands)[0];
}

}  // namespace pare
