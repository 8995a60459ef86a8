// Networks to quantize, and what the tests ask of the result.

#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "calib/compare.h"
#include "calib/runner.h"
#include "ops/ops.h"
#include "passes/quantize_int8.h"

namespace pare {

inline Tensor noise(Shape shape, uint32_t seed) {
  Tensor tensor(DType::kF32, std::move(shape));
  for (float& x : tensor.mutable_data<float>()) {
    seed = seed * 1664525u + 1013904223u;
    x = static_cast<float>(seed >> 8) / 8388608.0f - 1.0f;
  }
  return tensor;
}

/// Builds small networks; weights differ from node to node and are the same every time.
struct Network {
  Graph graph{onnx_ops()};
  ValueId x;
  uint32_t seed = 1;

  explicit Network(Shape shape, int64_t opset = 13) {
    graph.set_opset("", opset);
    std::vector<std::string> symbols(shape.size());
    symbols[0] = "N";
    x = graph.add_input("x", {DType::kF32, std::move(shape)}, symbols);
  }
  ValueId weight(const std::string& name, Shape shape) {
    return graph.add_constant(name, noise(std::move(shape), seed++));
  }
  ValueId conv(const std::string& name, ValueId input, int64_t outputs) {
    const int64_t inputs = graph.shape(input)[1];
    return graph.add_node(
        "Conv",
        {input, weight(name + ".w", {outputs, inputs, 3, 3}), weight(name + ".b", {outputs})},
        {{"pads", std::vector<int64_t>{1, 1, 1, 1}}}, name);
  }
  ValueId node(std::string_view op, std::vector<ValueId> inputs, const std::string& name,
               Attributes attributes = {}) {
    return graph.add_node(op, std::move(inputs), std::move(attributes), name);
  }
};

/// Two convs with a residual connection, pooling and a classifier.
inline Network residual_network(int64_t opset = 13) {
  Network net({1, 3, 8, 8}, opset);
  ValueId y = net.node("Relu", {net.conv("stem", net.x, 8)}, "stem_relu");
  const ValueId pooled = net.node(
      "MaxPool", {y}, "pool",
      {{"kernel_shape", std::vector<int64_t>{2, 2}}, {"strides", std::vector<int64_t>{2, 2}}});
  y = net.node("Add", {net.conv("inner", pooled, 8), pooled}, "add");
  y = net.node("Relu", {y}, "add_relu");
  y = net.node("GlobalAveragePool", {y}, "average");
  y = net.node("Flatten", {y}, "flatten");
  y = net.node("Gemm", {y, net.weight("fc.w", {8, 5}), net.weight("fc.b", {5})}, "fc");
  net.graph.set_outputs({y});
  return net;
}

inline PassStats quantize(Graph& graph, const Dataset& data,
                          const QuantizeInt8Options& options = {},
                          std::vector<std::string>* warnings = nullptr) {
  PassContext context;
  context.data = &data;
  context.threads = 2;
  if (warnings) context.warn = [=](const std::string& s) { warnings->push_back(s); };
  PassStats stats = make_quantize_int8(options)->run(graph, context);
  verify(graph);
  return stats;
}

inline Dataset images(Shape shape) { return Dataset::of({noise(std::move(shape), 99)}); }

inline Comparison compare(const Graph& before, const Graph& after, const Dataset& data) {
  const std::vector<int64_t> all = data.spread(data.size());
  return compare_outputs(run_outputs(before, data, all, {}), run_outputs(after, data, all, {}));
}

/// What makes operand `slot` of the node called `name`.
inline const Node& maker(const Graph& graph, const std::string& name, size_t slot) {
  for (const NodeId id : graph.order()) {
    if (graph.node(id).name == name)
      return graph.node(*graph.value(graph.node(id).inputs[slot]).producer);
  }
  throw Error(ErrorKind::kInternal, "no node is called " + name);
}

/// The smallest and largest integer of the weights of the node called `name`.
inline std::pair<int, int> extremes(const Graph& graph, const std::string& name) {
  const Tensor& weights = *graph.constant(maker(graph, name, 1).inputs[0]);
  const std::span<const int8_t> codes = weights.data<int8_t>();
  const auto [low, high] = std::ranges::minmax_element(codes);
  return {*low, *high};
}

inline int64_t count(const Graph& graph, std::string_view op) {
  int64_t n = 0;
  for (const NodeId id : graph.order()) n += graph.node(id).op == op;
  return n;
}

}  // namespace pare
