#include "passes/adjoint.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>
#include <span>

#include "ir/window.h"
#include "passes/adjoint_places.h"
#include "passes/graph_edit.h"

namespace pare {
namespace {

/// Step of central differences: errors of rounding and of curvature are both near 1e-4.
constexpr float kDifference = 5e-3f;

/// Functions of one element; further operands are constants.
constexpr std::string_view kCurves[] = {"Sigmoid",   "HardSigmoid", "HardSwish", "Tanh", "Elu",
                                        "LeakyRelu", "Selu",        "Softplus",  "Erf",  "Gelu",
                                        "Mish",      "PRelu",       "Exp"};
constexpr std::string_view kReshapes[] = {"Flatten", "Reshape", "Squeeze", "Unsqueeze", "Identity"};
/// Pick places along each axis.
constexpr std::string_view kPicks[] = {"Slice", "Split", "Pad", "Gather"};

bool is_in(std::span<const std::string_view> names, std::string_view name) {
  return std::ranges::find(names, name) != names.end();
}

/// A pool whose only window is the whole image.
bool is_mean(const Graph& graph, const Node& node) {
  if (node.op == "GlobalAveragePool") return true;
  if (node.op == "ReduceMean") {
    const Shape &x = graph.shape(node.inputs[0]), &y = graph.shape(node.outputs[0]);
    return x.size() > 2 && y.size() >= 2 && element_count(y) == x[0] * x[1] && y[1] == x[1];
  }
  if (node.op != "AveragePool") return false;
  const Shape &x = graph.shape(node.inputs[0]), &y = graph.shape(node.outputs[0]);
  return node.attribute("kernel_shape", Shape{}) == Shape(x.begin() + 2, x.end()) &&
         element_count(y) == y[0] * y[1];
}

/// Builds the adjoint behind a copy of the piece, whose values the rules read.
class AdjointBuilder {
 public:
  AdjointBuilder(const Graph& piece, const std::vector<ValueId>& values)
      : graph_(piece), forward_(piece.order()), depends_(values.begin(), values.end()) {
    for (NodeId id : forward_) {
      const Node& node = graph_.node(id);
      if (std::ranges::any_of(node.inputs, [&](ValueId v) { return depends_.contains(v); }))
        depends_.insert(node.outputs.begin(), node.outputs.end());
    }
  }

  Gradients build(const std::vector<ValueId>& values) {
    for (ValueId y : graph_.outputs()) {
      const TensorType type = graph_.type(y);
      const ValueId e = graph_.add_input("e", {DType::kF32, type.shape});
      if (type.dtype == DType::kF32) {
        give(y, e);
      } else {
        blocked_.insert(y);
      }
    }
    for (auto id = forward_.rbegin(); id != forward_.rend(); ++id) {
      const Node node = graph_.node(*id);
      if (std::ranges::any_of(node.outputs, [&](ValueId y) { return blocked_.contains(y); }) ||
          !passed_on(node))
        blocked_.insert(node.inputs.begin(), node.inputs.end());
    }
    Gradients result{.graph = std::move(graph_), .values = {}};
    std::vector<ValueId> outputs;
    for (ValueId value : values) {
      const auto gradient = gradients_.find(value);
      if (gradient == gradients_.end() || blocked_.contains(value)) continue;
      result.values.push_back(value);
      outputs.push_back(gradient->second);
    }
    result.graph.set_outputs(std::move(outputs));
    remove_unused_nodes(result.graph);
    return result;
  }

 private:
  /// Adds the rule of a node whose results have gradients; false where there is none.
  bool passed_on(const Node& node) {
    const bool wanted = std::ranges::any_of(
        node.outputs, [&](ValueId y) { return depends_.contains(y) && gradients_.contains(y); });
    if (!wanted) return true;
    if (!node.has_input(0) || graph_.type(node.inputs[0]).dtype != DType::kF32) return false;
    if (node.domain.empty() && is_in(kPicks, node.op)) return picking(node);
    return node.outputs.size() == 1 && apply(node, gradients_.at(node.outputs[0]));
  }

  /// Adds the rule of `node` for the gradient of its result.
  bool apply(const Node& node, ValueId gradient) {
    if (!node.domain.empty()) return false;
    if (node.op == "Conv") return convolution(node, gradient);
    if (node.op == "Gemm" || node.op == "MatMul") return product(node, gradient);
    if (node.op == "Relu" || node.op == "Clip") return clip(node, gradient);
    if (node.op == "Add") return give(node.inputs[0], gradient) && give(node.inputs[1], gradient);
    if (node.op == "Sub")
      return give(node.inputs[0], gradient) &&
             give(node.inputs[1], graph_.add_node("Neg", {gradient}));
    if (node.op == "Div" && !depends_.contains(node.inputs[1]))
      return give(node.inputs[0], graph_.add_node("Div", {gradient, node.inputs[1]}));
    if (node.op == "Mul") return multiplication(node, gradient);
    if (node.op == "Softmax") return softmax(node, gradient);
    if (node.op == "Transpose") return transposition(node, gradient);
    if (node.op == "MaxPool") return max_pool(node, gradient);
    if (node.op == "Concat") return concatenation(node, gradient);
    if (is_mean(graph_, node)) return mean(node, gradient);
    if (node.op == "AveragePool" || node.op == "Resize") return interpolation(node, gradient);
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
      if (!give(input, gather_along(graph_, gradient, static_cast<size_t>(axis), places)))
        return false;
    }
    return true;
  }

  bool picking(const Node& node) {
    if (node.attribute<std::string>("mode", "constant") != "constant") return false;
    for (size_t o = 0; o < node.outputs.size(); ++o) {
      const auto found = gradients_.find(node.outputs[o]);
      if (found == gradients_.end()) continue;
      ValueId gradient = found->second;
      const Shape &x = graph_.shape(node.inputs[0]), &y = graph_.shape(node.outputs[o]);
      if (x.size() != y.size() || x[0] != y[0]) return false;
      for (size_t axis = 1; axis < x.size(); ++axis) {
        const std::vector<int64_t> picked = picked_along(graph_, node, o, axis);
        if (picked.empty()) return false;
        const std::optional<ValueId> back = put_back(graph_, gradient, axis, picked, x[axis]);
        if (!back) return false;
        gradient = *back;
      }
      if (!give(node.inputs[0], gradient)) return false;
    }
    return true;
  }

  /// Each place takes the gradient of the windows it is the largest of.
  bool max_pool(const Node& node, ValueId gradient) {
    const ValueId x = node.inputs[0];
    const Shape shape = graph_.shape(x), y = graph_.shape(node.outputs[0]);
    const Window window = sliding_window(node, shape, node.attribute("kernel_shape", Shape{}));
    const size_t rank = shape.size() - 2;
    const Shape kernel = spatial_shape(window.kernel, rank);
    std::optional<ValueId> sum;
    for (int64_t tap = 0; tap < element_count(kernel); ++tap) {
      ValueId seen = x;  // What each window sees at the tap.
      std::vector<std::vector<int64_t>> picked;
      int64_t rest = tap;
      for (size_t i = 0; i < rank; ++i) {
        const std::vector<int64_t>& places = picked.emplace_back(
            places_of_tap(window, rank, i, rest % kernel[i], y[i + 2], shape[i + 2]));
        rest /= kernel[i];
        std::vector<int64_t> indices;
        for (int64_t place : places) indices.push_back(std::max<int64_t>(0, place - 1));
        seen = gather_along(graph_, seen, i + 2, indices);
      }
      const ValueId smaller = graph_.add_node("Less", {seen, node.outputs[0]});
      const ValueId largest = graph_.add_node("Not", {smaller});
      ValueId part = graph_.add_node(
          "Mul", {gradient, graph_.add_node("Cast", {largest}, {{"to", int64_t{1}}})});
      for (size_t i = 0; i < rank; ++i) {
        const std::optional<ValueId> back = put_back(graph_, part, i + 2, picked[i], shape[i + 2]);
        if (!back) return false;
        part = *back;
      }
      sum = sum ? graph_.add_node("Add", {*sum, part}) : part;
    }
    return sum && give(x, *sum);
  }

  /// 1 + the place that each window looks at with a tap, along an axis of space; 0 outside.
  static std::vector<int64_t> places_of_tap(const Window& window, size_t rank, size_t axis,
                                            int64_t tap, int64_t windows, int64_t extent) {
    const int64_t stride = spatial_shape(window.stride, rank)[axis];
    const int64_t first = tap * spatial_shape(window.dilation, rank)[axis] -
                          spatial_shape(window.pad_begin, rank)[axis];
    std::vector<int64_t> places;
    for (int64_t o = 0; o < windows; ++o) {
      const int64_t place = o * stride + first;
      places.push_back(place >= 0 && place < extent ? place + 1 : 0);
    }
    return places;
  }

  /// Pools and resizes, linear along each axis of space.
  bool interpolation(const Node& node, ValueId gradient) {
    const std::optional<std::vector<Tensor>> along = axis_matrices(graph_, node);
    if (!along) return false;
    // Y = A X B^T has the adjoint A^T G B.
    const ValueId a = graph_.add_constant("a", (*along)[0]);
    const ValueId b = graph_.add_constant("b", (*along)[1]);
    const ValueId left = graph_.add_node("Transpose", {a}, {{"perm", std::vector<int64_t>{1, 0}}});
    return give(node.inputs[0],
                graph_.add_node("MatMul", {left, graph_.add_node("MatMul", {gradient, b})}));
  }

  bool softmax(const Node& node, ValueId gradient) {
    const ValueId y = node.outputs[0];
    const auto rank = static_cast<int64_t>(graph_.shape(y).size());
    constexpr int64_t kOneAxis = 13;  // Before, all axes behind were one.
    const auto axis = node.attribute<int64_t>("axis", graph_.opset() < kOneAxis ? 1 : -1);
    const int64_t from_front = axis < 0 ? axis + rank : axis;
    if (graph_.opset() < kOneAxis && from_front != rank - 1) return false;
    const ValueId mean = sum(graph_.add_node("Mul", {gradient, y}), {from_front});
    return give(node.inputs[0],
                graph_.add_node("Mul", {y, graph_.add_node("Sub", {gradient, mean})}));
  }

  bool transposition(const Node& node, ValueId gradient) {
    const auto rank = graph_.shape(node.inputs[0]).size();
    std::vector<int64_t> backwards(rank);
    for (size_t i = 0; i < rank; ++i) backwards[i] = static_cast<int64_t>(rank - 1 - i);
    const std::vector<int64_t> perm = node.attribute("perm", backwards);
    std::vector<int64_t> inverse(rank);
    for (size_t i = 0; i < rank; ++i)
      inverse[static_cast<size_t>(perm[i])] = static_cast<int64_t>(i);
    return give(node.inputs[0], graph_.add_node("Transpose", {gradient}, {{"perm", inverse}}));
  }

  bool mean(const Node& node, ValueId gradient) {
    const ValueId x = node.inputs[0];
    int64_t places = 1;
    for (size_t i = 2; i < graph_.shape(x).size(); ++i) places *= graph_.shape(x)[i];
    const ValueId share =
        graph_.add_node("Mul", {gradient, number(1.0f / static_cast<float>(places))});
    const ValueId zeros = graph_.add_node("Sub", {x, x});  // In the shape of x at any batch.
    if (graph_.shape(gradient).size() == graph_.shape(x).size())
      return give(x, graph_.add_node("Add", {zeros, share}));
    std::vector<int64_t> shape(graph_.shape(x).size(), 1);
    shape[0] = 0;
    shape[1] = graph_.shape(x)[1];
    const ValueId wide = graph_.add_node(
        "Reshape", {share, graph_.add_constant("shape", Tensor(Shape{std::ssize(shape)}, shape))});
    return give(x, graph_.add_node("Add", {zeros, wide}));
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
  std::vector<NodeId> forward_;
  std::set<ValueId> depends_;  ///< On the values that gradients are wanted at.
  std::set<ValueId> blocked_;  ///< Some way from here to the outputs has no rule.
  std::map<ValueId, ValueId> gradients_;
};

}  // namespace

std::optional<Graph> adjoint(const Graph& piece, size_t input) {
  PARE_CHECK(input < piece.inputs().size() && piece.outputs().size() == 1,
             "an adjoint is of one output by one input");
  Gradients result = gradients(piece, {piece.inputs()[input]});
  if (result.values.empty()) return {};
  return std::move(result.graph);
}

Gradients gradients(const Graph& piece, const std::vector<ValueId>& values) {
  return AdjointBuilder(piece, values).build(values);
}

bool has_adjoint(const Graph& graph, const Node& node) {
  constexpr std::string_view kOthers[] = {
      "Relu",    "Clip",      "Add",     "Mul",         "Concat", "GlobalAveragePool", "Sub", "Div",
      "Softmax", "Transpose", "MaxPool", "AveragePool", "Resize"};
  if (!node.domain.empty() || node.outputs.size() != 1) return false;
  const auto known = [&](ValueId id) { return id == kNoValue || graph.type(id).known(); };
  if (!std::ranges::all_of(node.inputs, known) || !known(node.outputs[0])) return false;
  if (node.op == "Conv" || node.op == "Gemm" || node.op == "MatMul")
    return graph.constant(node.inputs[1]) != nullptr;
  return is_mean(graph, node) || is_in(kOthers, node.op) || is_in(kReshapes, node.op) ||
         is_in(kCurves, node.op) || is_in(kPicks, node.op);
}

}  // namespace pare
