#pragma once

#include <string>
#include <vector>

#include "exec/interpreter.h"
#include "ops/ops.h"

namespace pare {

/// A graph of one node: its first operand is the graph's input, the others are constants.
struct OneNode {
  OneNode(std::string_view op, Tensor x, const std::vector<Tensor>& rest = {},
          Attributes attributes = {}, int64_t opset = 17, size_t outputs = 1)
      : graph(onnx_ops()), input(std::move(x)) {
    graph.set_opset("", opset);
    std::vector<ValueId> operands = {graph.add_input("x", input.type())};
    for (const Tensor& tensor : rest)
      operands.push_back(tensor.defined() ? graph.add_constant("c", tensor) : kNoValue);
    const ValueId y = graph.add_node(op, operands, std::move(attributes), "n", outputs);
    graph.set_outputs(graph.node(*graph.value(y).producer).outputs);
  }

  std::vector<Tensor> run() const { return execute(graph, {input}); }
  /// The first output as inferred.
  TensorType type() const { return graph.type(graph.outputs()[0]); }

  Graph graph;
  Tensor input;
};

/// [n] of the values.
template <typename T>
Tensor list_of(const std::vector<T>& values) {
  return Tensor({static_cast<int64_t>(values.size())}, values);
}

/// 0, 1, 2, ... as floats.
inline Tensor counting(Shape shape) {
  std::vector<float> values(static_cast<size_t>(element_count(shape)));
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  return Tensor(std::move(shape), values);
}

inline std::vector<float> floats(const Tensor& tensor) {
  return {tensor.data<float>().begin(), tensor.data<float>().end()};
}

}  // namespace pare
