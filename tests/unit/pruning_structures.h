#pragma once

#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "pruning_graphs.h"

namespace pare {

/// Builder with the nodes that structures are made of.
class StructureBuilder : public Builder {
 public:
  ValueId integers(const std::vector<int64_t>& values) {
    return graph.add_constant("i", Tensor({std::ssize(values)}, values));
  }
  ValueId node(std::string_view op, const std::vector<ValueId>& inputs,
               const Attributes& attributes = {}) {
    return graph.add_node(op, inputs, attributes);
  }
  ValueId concat(const std::vector<ValueId>& parts) {
    return node("Concat", parts, {{"axis", int64_t{1}}});
  }
  ValueId slice(ValueId x, int64_t begin, int64_t end) {
    return node("Slice", {x, integers({begin}), integers({end}), integers({1})});
  }
  ValueId reshape(ValueId x, const std::vector<int64_t>& shape) {
    return node("Reshape", {x, integers(shape)});
  }
  ValueId transpose(ValueId x, const std::vector<int64_t>& perm) {
    return node("Transpose", {x}, {{"perm", perm}});
  }
  /// One number a channel.
  ValueId per_channel(ValueId x) {
    const int64_t channels = graph.shape(x)[1];
    return graph.add_constant("c", random_tensor({channels, 1, 1}, 7));
  }
  ValueId ones(int64_t count) {
    return graph.add_constant("ones",
                              Tensor({count}, std::vector(static_cast<size_t>(count), 1.0f)));
  }
  ValueId batch_norm(ValueId x) {
    const int64_t channels = graph.shape(x)[1];
    const auto constant = [&](uint32_t seed) {
      return graph.add_constant("bn", random_tensor({channels}, seed, 0.1f));
    };
    const ValueId ones = this->ones(channels);
    return node("BatchNormalization", {x, ones, constant(11), constant(12), ones});
  }
  ValueId layer_norm(ValueId x) {
    return node("LayerNormalization", {x, ones(graph.shape(x).back())}, {{"axis", int64_t{-1}}});
  }
  ValueId linear(ValueId x, int64_t outputs, const std::string& name) {
    const int64_t inputs = graph.shape(x).back();
    const ValueId y =
        graph.add_node("MatMul", {x, weight(name + ".w", {inputs, outputs})}, {}, name);
    return add(y, graph.add_constant(name + ".b", random_tensor({outputs}, 77, 0.1f)));
  }
  ValueId upsampled(ValueId x, int64_t outputs, const std::string& name) {
    const int64_t inputs = graph.shape(x)[1];
    return graph.add_node("ConvTranspose", {x, weight(name + ".w", {inputs, outputs, 2, 2})},
                          {{"strides", std::vector<int64_t>{2, 2}}}, name);
  }
  ValueId pooled(ValueId x) {
    return node(
        "MaxPool", {x},
        {{"kernel_shape", std::vector<int64_t>{2, 2}}, {"strides", std::vector<int64_t>{2, 2}}});
  }
  ValueId silu(ValueId x) { return node("Mul", {x, node("Sigmoid", {x})}); }
  void classify(ValueId x) { graph.set_outputs({head(x, 5)}); }
};

/// A network from an image of 3 x 8 x 8, the layers whose channels are to go, and a weight on the
/// other side of the structure that has to become narrower with them.
struct Structure {
  std::string name;
  std::function<void(StructureBuilder&)> build;
  std::vector<std::string> pruned;
  std::string follows;
};

inline std::ostream& operator<<(std::ostream& out, const Structure& structure) {
  return out << structure.name;
}

/// Every structure that channels are coupled by in real networks.
const std::vector<Structure>& pruning_structures();

}  // namespace pare
