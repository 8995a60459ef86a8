#include "passes/adjoint.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>
#include <span>

#include "ir/window.h"

namespace pare {
namespace {

/// Step of central differences: errors of rounding and of curvature are both near 1e-4.
constexpr float kDifference = 5e-3f;

/// Functions of one element; further operands are constants.
constexpr std::string_view kCurves[] = {"Sigmoid", "HardSigmoid", "HardSwish", "Tanh",
                                        "Elu",     "LeakyRelu",   "Selu",      "Softplus",
                                        "Erf",     "Gelu",        "Mish",      "PRelu"};
constexpr std::string_view kReshapes[] = {"Flatten", "Reshape", "Squeeze", "Unsqueeze", "Identity"};

bool is_in(std::span<const std::string_view> names, std::string_view name) {
  return std::ranges::find(names, name) != names.end();
}

/// A pool whose only window is the whole image.
bool is_mean(const Graph& graph, const Node& node) {
  if (node.op == "GlobalAveragePool") return true;
  if (node.op != "AveragePool") return false;
  const Shape &x = graph.shape(node.inputs[0]), &y = graph.shape(node.outputs[0]);
  return node.attribute("kernel_shape", Shape{}) == Shape(x.begin() + 2, x.end()) &&
         element_count(y) == y[0] * y[1];
}

/// Builds the adjoint behind a copy of the piece, whose values the rules read.
class AdjointBuilder {
 public:
  AdjointBuilder(const Graph& piece, size_t input)
      : graph_(piece), input_(piece.inputs()[input]), forward_(piece.order()) {
    depends_.insert(input_);
    for (NodeId id : forward_) {
      const Node& node = graph_.node(id);
      if (std::ranges::any_of(node.inputs, [&](ValueId v) { return depends_.contains(v); }))
        depends_.insert(node.outputs.begin(), node.outputs.end());
    }
  }

  std::optional<Graph> build() {
    const ValueId y = graph_.outputs()[0];
    gradients_[y] = graph_.add_input("e", graph_.type(y));
    for (auto id = forward_.rbegin(); id != forward_.rend(); ++id) {
      const Node node = graph_.node(*id);
      if (!depends_.contains(node.outputs[0])) continue;
      const auto gradient = gradients_.find(node.outputs[0]);
      if (gradient == gradients_.end() || node.outputs.size() != 1) return {};
      if (!apply(node, gradient->second)) return {};
    }
    const auto result = gradients_.find(input_);
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
    if (node.op == "Add") return give(node.inputs[0], gradient) && give(node.inputs[1], gradient);
    if (node.op == "Mul") return multiplication(node, gradient);
    if (node.op == "Concat") return concatenation(node, gradient);
    if (is_mean(graph_, node)) return mean(node, gradient);
    if (is_in(kReshapes, node.op)) {
      const ValueId shape = graph_.add_node("Shape", {node.inputs[0]});
      return give(node.inputs[0], graph_.add_node("Reshape", {gradient, shape}));
    }
    if (is_in(kCurves, node.op)) return curve(node, gradient);
    return false;
  }

  /// Adds to the gradient of an operand, summed over axes along which it was broadcast.
  bool give(ValueId value, ValueId gradient) {
    if (!depends_.contains(value)) return true;
    const Shape shape = graph_.shape(value), wide = graph_.shape(gradient);
    if (shape != wide) {
      if (shape.size() != wide.size()) return false;
      std::vector<int64_t> axes;
      for (size_t i = 0; i < shape.size(); ++i) {
        if (shape[i] == wide[i]) continue;
        if (shape[i] != 1) return false;
        axes.push_back(static_cast<int64_t>(i));
      }
      gradient = sum(gradient, axes);
    }
    const auto [place, is_new] = gradients_.emplace(value, gradient);
    if (!is_new) place->second = graph_.add_node("Add", {place->second, gradient});
    return true;
  }

  ValueId sum(ValueId value, const std::vector<int64_t>& axes) {
    constexpr int64_t kAxesAsInput = 13;
    if (graph_.opset() < kAxesAsInput)
      return graph_.add_node("ReduceSum", {value}, {{"axes", axes}, {"keepdims", int64_t{1}}});
    const Shape length{static_cast<int64_t>(axes.size())};
    return graph_.add_node("ReduceSum", {value, graph_.add_constant("axes", Tensor(length, axes))},
                           {{"keepdims", int64_t{1}}});
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
    return give(node.inputs[0], graph_.add_node("ConvTranspose", {gradient, node.inputs[1]},
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
    return give(node.inputs[0], graph_.add_node("MatMul", {gradient, matrix}));
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
      return give(x, gradient);
    }
    const auto bound = [&](size_t slot, const char* key) -> std::optional<ValueId> {
      if (node.has_attribute(key)) return number(node.attribute(key, 0.0f));
      if (node.has_input(slot)) return node.inputs[slot];
      return {};
    };
    if (const std::optional<ValueId> low = bound(1, "min")) mask("Greater", *low);
    if (const std::optional<ValueId> high = bound(2, "max")) mask("Less", *high);
    return give(x, gradient);
  }

  bool multiplication(const Node& node, ValueId gradient) {
    for (const size_t i : {size_t{0}, size_t{1}}) {
      if (!depends_.contains(node.inputs[i])) continue;
      if (!give(node.inputs[i], graph_.add_node("Mul", {gradient, node.inputs[1 - i]})))
        return false;
    }
    return true;
  }

  bool concatenation(const Node& node, ValueId gradient) {
    const auto rank = static_cast<int64_t>(graph_.shape(node.outputs[0]).size());
    int64_t axis = node.attribute<int64_t>("axis", 1);
    if (axis < 0) axis += rank;
    int64_t first = 0;
    for (ValueId input : node.inputs) {
      std::vector<int64_t> places(
          static_cast<size_t>(graph_.shape(input)[static_cast<size_t>(axis)]));
      std::iota(places.begin(), places.end(), first);
      first += static_cast<int64_t>(places.size());
      if (!depends_.contains(input)) continue;
      const Shape length{static_cast<int64_t>(places.size())};
      const ValueId part = graph_.add_node(
          "Gather", {gradient, graph_.add_constant("places", Tensor(length, places))},
          {{"axis", axis}});
      if (!give(input, part)) return false;
    }
    return true;
  }

  bool mean(const Node& node, ValueId gradient) {
    const ValueId x = node.inputs[0];
    int64_t places = 1;
    for (size_t i = 2; i < graph_.shape(x).size(); ++i) places *= graph_.shape(x)[i];
    const ValueId share =
        graph_.add_node("Mul", {gradient, number(1.0f / static_cast<float>(places))});
    const ValueId zeros = graph_.add_node("Sub", {x, x});  // In the shape of x at any batch.
    return give(x, graph_.add_node("Add", {zeros, share}));
  }

  bool curve(const Node& node, ValueId gradient) {
    const auto at = [&](float offset) {
      std::vector<ValueId> inputs = node.inputs;
      inputs[0] = graph_.add_node("Add", {node.inputs[0], number(offset)});
      return graph_.add_node(node.op, inputs, node.attributes);
    };
    if (std::ranges::any_of(std::span(node.inputs).subspan(1),
                            [&](ValueId input) { return depends_.contains(input); }))
      return false;
    const ValueId rise = graph_.add_node("Sub", {at(kDifference), at(-kDifference)});
    const ValueId slope = graph_.add_node("Mul", {rise, number(1 / (2 * kDifference))});
    return give(node.inputs[0], graph_.add_node("Mul", {gradient, slope}));
  }

  Graph graph_;
  ValueId input_;
  std::vector<NodeId> forward_;
  std::set<ValueId> depends_;  ///< On the input.
  std::map<ValueId, ValueId> gradients_;
};

}  // namespace

std::optional<Graph> adjoint(const Graph& piece, size_t input) {
  PARE_CHECK(input < piece.inputs().size() && piece.outputs().size() == 1,
             "an adjoint is of one output by one input");
  return AdjointBuilder(piece, input).build();
}

bool has_adjoint(const Graph& graph, const Node& node) {
  constexpr std::string_view kOthers[] = {"Relu", "Clip",   "Add",
                                          "Mul",  "Concat", "GlobalAveragePool"};
  if (!node.domain.empty() || node.outputs.size() != 1) return false;
  const auto known = [&](ValueId id) { return id == kNoValue || graph.type(id).known(); };
  if (!std::ranges::all_of(node.inputs, known) || !known(node.outputs[0])) return false;
  if (node.op == "Conv" || node.op == "Gemm" || node.op == "MatMul")
    return graph.constant(node.inputs[1]) != nullptr;
  return is_mean(graph, node) || is_in(kOthers, node.op) || is_in(kReshapes, node.op) ||
         is_in(kCurves, node.op);
}

}  // namespace pare
