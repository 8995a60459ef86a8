#pragma once

#include <cmath>
#include <random>
#include <vector>

#include "calib/dataset.h"
#include "ir/graph.h"
#include "ops/ops.h"
#include "passes/pass.h"

namespace pare {

/// Seeded normal numbers, the same on every machine.
inline Tensor random_tensor(const Shape& shape, uint32_t seed, float scale = 1.0f) {
  std::mt19937 engine(seed);
  std::vector<float> values(static_cast<size_t>(element_count(shape)));
  for (float& value : values) {  // A sum of twelve is near normal.
    value = -6.0f;
    for (int i = 0; i < 12; ++i) value += static_cast<float>(engine() >> 8) / 16777216.0f;
    value *= scale;
  }
  return Tensor(shape, values);
}

/// Builds small networks with random weights.
class Builder {
 public:
  Builder() : graph(onnx_ops()) { graph.set_opset("", 17); }

  ValueId image(int64_t channels, int64_t size) {
    return graph.add_input("x", {DType::kF32, {1, channels, size, size}}, {"N", "", "", ""});
  }
  ValueId weight(const std::string& name, const Shape& shape) {
    int64_t fan_in = 1;
    for (size_t i = 1; i < shape.size(); ++i) fan_in *= shape[i];
    return graph.add_constant(
        name, random_tensor(shape, seed_++, std::sqrt(2.0f / static_cast<float>(fan_in))));
  }
  ValueId conv(ValueId x, int64_t outputs, int64_t kernel, const std::string& name,
               int64_t group = 1) {
    const int64_t inputs = graph.shape(x)[1];
    const int64_t pad = kernel / 2;
    return graph.add_node(
        "Conv",
        {x, weight(name + ".w", {outputs, inputs / group, kernel, kernel}),
         graph.add_constant(name + ".b", random_tensor({outputs}, seed_++, 0.1f))},
        {{"pads", std::vector<int64_t>{pad, pad, pad, pad}}, {"group", group}}, name);
  }
  ValueId relu(ValueId x) { return graph.add_node("Relu", {x}); }
  ValueId add(ValueId a, ValueId b) { return graph.add_node("Add", {a, b}); }
  /// Pools over space, flattens and classifies.
  ValueId head(ValueId x, int64_t classes) {
    const ValueId flat =
        graph.add_node("Flatten", {graph.add_node("GlobalAveragePool", {x})}, {}, "flat");
    return graph.add_node("Gemm",
                          {flat, weight("fc.w", {classes, graph.shape(flat)[1]}),
                           graph.add_constant("fc.b", random_tensor({classes}, seed_++))},
                          {{"transB", int64_t{1}}}, "fc");
  }

  Graph graph;

 private:
  uint32_t seed_ = 1;
};

/// Stem, two residual blocks with inner channels, head: a ResNet in small.
inline Graph small_resnet() {
  Builder b;
  ValueId x = b.relu(b.conv(b.image(3, 8), 8, 3, "stem"));
  for (const std::string name : {"a", "b"}) {
    const ValueId inner = b.relu(b.conv(x, 12, 3, name + "1"));
    x = b.relu(b.add(x, b.conv(inner, 8, 3, name + "2")));
  }
  b.graph.set_outputs({b.head(x, 5)});
  return std::move(b.graph);
}

inline Dataset random_images(int64_t count, int64_t channels, int64_t size, uint32_t seed = 99) {
  return Dataset::of({random_tensor({count, channels, size, size}, seed)});
}

inline const Tensor& weight_of(const Graph& graph, const std::string& name) {
  for (uint32_t i = 0; i < graph.value_count(); ++i) {
    if (graph.value(ValueId{i}).name == name && graph.value(ValueId{i}).constant)
      return *graph.value(ValueId{i}).constant;
  }
  throw Error(ErrorKind::kInternal, "no constant " + name);
}

/// max |a - b| / max |a|.
inline double relative_difference(const Tensor& a, const Tensor& b) {
  if (a.shape() != b.shape()) return INFINITY;
  double largest = 0, difference = 0;
  for (size_t i = 0; i < a.data<float>().size(); ++i) {
    const double x = static_cast<double>(a.data<float>()[i]);
    largest = std::max(largest, std::abs(x));
    difference = std::max(difference, std::abs(x - static_cast<double>(b.data<float>()[i])));
  }
  return largest > 0 ? difference / largest : difference;
}

}  // namespace pare
