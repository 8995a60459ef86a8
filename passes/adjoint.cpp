#include "passes/adjoint.h"

#include <algorithm>
#include <map>

#include "ir/window.h"

namespace pare {
namespace {

/// Builds the adjoint behind a copy of the piece, whose values the rules read.
class AdjointBuilder {
 public:
  explicit AdjointBuilder(const Graph& piece) : graph_(piece), forward_(piece.order()) {}

  std::optional<Graph> build() {
    const ValueId y = graph_.outputs()[0];
    gradients_[y] = graph_.add_input("e", graph_.type(y));
    for (auto id = forward_.rbegin(); id != forward_.rend(); ++id) {
      const Node node = graph_.node(*id);
      const auto gradient = gradients_.find(node.outputs[0]);
      if (gradient == gradients_.end() || node.outputs.size() != 1) return {};
      if (!apply(node, gradient->second)) return {};
    }
    const auto result = gradients_.find(graph_.inputs()[0]);
    if (result == gradients_.end()) return {};
    graph_.set_outputs({result->second});
    return std::move(graph_);
  }

 private:
  /// Adds the rule of `node` for the gradient of its result.
  bool apply(const Node& node, ValueId gradient) {
    if (!node.domain.empty()) return false;
    if (node.op == "Conv") return convolution(node, gradient);
    if (node.op == "Gemm" || node.op == "MatMul") return product(node, gradient);
    if (node.op == "Relu" || node.op == "Clip") return clip(node, gradient);
    if (node.op == "Add") return addition(node, gradient);
    return false;
  }

  bool set(ValueId value, ValueId gradient) {
    return !graph_.constant(value) && gradients_.emplace(value, gradient).second;
  }
  ValueId number(float x) { return graph_.add_constant("c", Tensor(Shape{}, std::vector{x})); }

  bool convolution(const Node& node, ValueId gradient) {
    const Tensor* weight = graph_.constant(node.inputs[1]);
    if (!weight) return false;
    const Shape& x = graph_.shape(node.inputs[0]);
    const Shape kernel = kernel_of_weight(node, weight->shape());
    const Window window = sliding_window(node, x, kernel);
    const size_t rank = kernel.size();
    const Shape strides = spatial_shape(window.stride, rank);
    const Shape dilations = spatial_shape(window.dilation, rank);
    const Shape begin = spatial_shape(window.pad_begin, rank);
    const Shape output = spatial_shape(window.output, rank);
    Shape pads(2 * rank), extra(rank);
    for (size_t i = 0; i < rank; ++i) {
      // What the window reaches beyond the input at its end, or leaves of it unread.
      const int64_t reached =
          (output[i] - 1) * strides[i] + (kernel[i] - 1) * dilations[i] + 1 - begin[i];
      pads[i] = begin[i];
      pads[rank + i] = std::max<int64_t>(0, reached - x[i + 2]);
      extra[i] = std::max<int64_t>(0, x[i + 2] - reached);
    }
    return set(node.inputs[0], graph_.add_node("ConvTranspose", {gradient, node.inputs[1]},
                                               {{"strides", strides},
                                                {"dilations", dilations},
                                                {"pads", pads},
                                                {"output_padding", extra},
                                                {"group", node.attribute<int64_t>("group", 1)}}));
  }

  bool product(const Node& node, ValueId gradient) {
    const Tensor* weight = graph_.constant(node.inputs[1]);
    if (!weight || weight->shape().size() != 2) return false;
    const bool transposed = node.attribute<int64_t>("transB", 0) != 0;
    if (node.op == "Gemm" &&
        (node.attribute<int64_t>("transA", 0) != 0 || node.attribute("alpha", 1.0f) != 1))
      return false;
    ValueId matrix = node.inputs[1];
    if (!transposed)
      matrix = graph_.add_node("Transpose", {matrix}, {{"perm", std::vector<int64_t>{1, 0}}});
    return set(node.inputs[0], graph_.add_node("MatMul", {gradient, matrix}));
  }

  /// Lets through what lies between the bounds.
  bool clip(const Node& node, ValueId gradient) {
    const ValueId x = node.inputs[0];
    const auto mask = [&](const char* relation, ValueId bound) {
      const ValueId inside = graph_.add_node(relation, {x, bound});
      gradient = graph_.add_node(
          "Mul", {gradient, graph_.add_node("Cast", {inside}, {{"to", int64_t{1}}})});
    };
    if (node.op == "Relu") {
      mask("Greater", number(0));
      return set(x, gradient);
    }
    const auto bound = [&](size_t slot, const char* key) -> std::optional<ValueId> {
      if (node.has_attribute(key)) return number(node.attribute(key, 0.0f));
      if (node.has_input(slot)) return node.inputs[slot];
      return {};
    };
    if (const std::optional<ValueId> low = bound(1, "min")) mask("Greater", *low);
    if (const std::optional<ValueId> high = bound(2, "max")) mask("Less", *high);
    return set(x, gradient);
  }

  bool addition(const Node& node, ValueId gradient) {
    const size_t computed = graph_.constant(node.inputs[0]) ? 1 : 0;
    if (!graph_.constant(node.inputs[1 - computed]) ||
        graph_.type(node.inputs[computed]) != graph_.type(node.outputs[0]))
      return false;
    return set(node.inputs[computed], gradient);
  }

  Graph graph_;
  std::vector<NodeId> forward_;
  std::map<ValueId, ValueId> gradients_;
};

}  // namespace

std::optional<Graph> adjoint(const Graph& piece) {
  if (piece.inputs().size() != 1 || piece.outputs().size() != 1) return {};
  return AdjointBuilder(piece).build();
}

}  // namespace pare
