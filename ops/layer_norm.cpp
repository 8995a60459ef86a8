// Normalization over the last axes: ONNX LayerNormalization, RMSNormalization.
// https://onnx.ai/onnx/operators/onnx__LayerNormalization.html
// https://onnx.ai/onnx/operators/onnx__RMSNormalization.html
//
//   X [d0 ... axis ... dn]   Scale, B broadcast into X   ->   Y of X's shape
//   LayerNormalization also: Mean, InvStdDev [d0 ... 1 ... 1]

#include <algorithm>
#include <cmath>

#include "ir/channel_slots.h"
#include "ops/axes.h"
#include "ops/elementwise.h"
#include "ops/moments.h"
#include "ops/rows.h"

namespace pare {
namespace {

void check(Operands in) {
  for (const Operand& operand : in) {
    require_dtype(operand, is_float, "floats");
    if (operand && broadcast_shape(in[0].shape(), operand.shape()) != in[0].shape())
      throw Error(ErrorKind::kInput, "a parameter is " + to_string(operand.shape()) +
                                         ", which does not broadcast into input " +
                                         to_string(in[0].shape()));
  }
}

/// The statistics are in float, or in double where the input is.
std::vector<TensorType> infer_layer(const Node& node, Operands in) {
  check(in);
  Shape rows = in[0].shape();
  const size_t axis = axis_attribute(node, -1, rows.size());
  std::fill(rows.begin() + static_cast<ptrdiff_t>(axis), rows.end(), 1);
  const DType stash = in[0].type->dtype == DType::kF64 ? DType::kF64 : DType::kF32;
  return {*in[0].type, {stash, rows}, {stash, rows}};
}

std::vector<TensorType> infer_rms(const Node& node, Operands in) {
  check(in);
  (void)axis_attribute(node, -1, in[0].shape().size());
  return {{in[1].type->dtype, in[0].shape()}};
}

/// Rows are independent; the normalized axes mix their elements.
void tie(const Graph& graph, const Node& node, ChannelSlots& slots) {
  const ValueId x = node.inputs[0], y = node.outputs[0];
  const size_t rank = graph.shape(x).size(), axis = axis_attribute(node, -1, rank);
  for (size_t i = 0; i < rank; ++i) {
    slots.tie(dim_of(x, i), dim_of(y, i));
    if (i >= axis) slots.fix(dim_of(y, i));
  }
  for (size_t i = 1; i < node.inputs.size(); ++i) {
    if (node.has_input(i)) tie_broadcast(slots, node.inputs[i], y);
  }
  for (size_t i = 1; i < node.outputs.size(); ++i) {
    if (node.has_output(i)) tie_broadcast(slots, node.outputs[i], y);
  }
}

/// Per element: mean 1, centring 1, variance 2, standardizing 1, scale and bias 2.
uint64_t layer_ops(const Node& node, Operands in, std::span<const TensorType> out) {
  return 7 * one_per_output(node, in, out);
}

/// Per element: mean of squares 2, division 1, scale 1.
uint64_t rms_ops(const Node& node, Operands in, std::span<const TensorType> out) {
  return 4 * one_per_output(node, in, out);
}

DType stash_type(const Tensor& x) { return x.dtype() == DType::kF64 ? DType::kF64 : DType::kF32; }

/// A parameter laid out so that element i of row r is at r * row_stride + i.
struct Parameter {
  Tensor tensor;
  int64_t row_stride = 0;

  /// `parameter` may be null, standing for none.
  Parameter(const Tensor* parameter, const Tensor& x, size_t axis) {
    if (!parameter) return;
    Shape shape = parameter->shape();
    const auto varying = std::ranges::find_if(shape, [](int64_t e) { return e != 1; });
    const Shape last(x.shape().begin() + static_cast<ptrdiff_t>(axis), x.shape().end());
    const bool one_row = static_cast<size_t>(shape.end() - varying) <= last.size();
    shape.erase(shape.begin(), varying);
    tensor =
        broadcast_to(cast(*parameter, stash_type(x)).reshaped(shape), one_row ? last : x.shape());
    if (!one_row) row_stride = element_count(last);
  }

  template <typename T>
  const T* row(int64_t r) const {
    return tensor.defined() ? tensor.data<T>().data() + r * row_stride : nullptr;
  }
};

/// Calls `body(r, x, y, scale, bias)` for each row of `count` elements; bias may be null.
template <typename T, typename Body>
void for_each_row(const Tensor& x, Tensor& y, int64_t count, const Parameter& scale,
                  const Parameter& bias, Body&& body) {
  const T* from = x.data<T>().data();
  T* to = y.mutable_data<T>().data();
  const int64_t rows = count > 0 ? x.size() / count : 0;
  for (int64_t r = 0; r < rows; ++r)
    body(r, from + r * count, to + r * count, scale.row<T>(r), bias.row<T>(r));
}

std::vector<Tensor> eval_layer(const Node& node, std::span<const Tensor* const> in) {
  const std::vector<TensorType> types = infer_layer(node, as_operands(in));
  const Tensor x = cast(*in[0], stash_type(*in[0]));
  const size_t axis = axis_attribute(node, -1, x.shape().size());
  const int64_t count = extent_product(x.shape(), axis, x.shape().size());
  const auto epsilon = static_cast<double>(node.attribute("epsilon", 1e-5f));
  const Parameter scale(in[1], x, axis), bias(operand_or_null(in, 2), x, axis);
  Tensor y = Tensor::uninitialized(x.dtype(), x.shape());
  Tensor mean = Tensor::uninitialized(types[1].dtype, types[1].shape);
  Tensor inverse = Tensor::uninitialized(types[2].dtype, types[2].shape);
  visit_float(x.dtype(), [&]<typename T>() {
    T *means = mean.mutable_data<T>().data(), *inverses = inverse.mutable_data<T>().data();
    for_each_row<T>(
        x, y, count, scale, bias, [&](int64_t r, const T* from, T* to, const T* w, const T* b) {
          const Moments m = moments(from, count, epsilon);
          const auto centre = static_cast<T>(m.mean), factor = static_cast<T>(m.inverse_deviation);
          means[r] = centre, inverses[r] = factor;
          for (int64_t i = 0; i < count; ++i)
            to[i] = (from[i] - centre) * factor * w[i] + (b ? b[i] : T{0});
        });
  });
  return {cast(y, types[0].dtype), std::move(mean), std::move(inverse)};
}

std::vector<Tensor> eval_rms(const Node& node, std::span<const Tensor* const> in) {
  const std::vector<TensorType> types = infer_rms(node, as_operands(in));
  const Tensor x = cast(*in[0], stash_type(*in[0]));
  const size_t axis = axis_attribute(node, -1, x.shape().size());
  const int64_t count = extent_product(x.shape(), axis, x.shape().size());
  const auto epsilon = static_cast<double>(node.attribute("epsilon", 1e-5f));
  const Parameter scale(in[1], x, axis), none(nullptr, x, axis);
  Tensor y = Tensor::uninitialized(x.dtype(), x.shape());
  visit_float(x.dtype(), [&]<typename T>() {
    for_each_row<T>(
        x, y, count, scale, none, [&](int64_t, const T* from, T* to, const T* w, const T*) {
          double squares = 0;
          for (int64_t i = 0; i < count; ++i)
            squares += static_cast<double>(from[i]) * static_cast<double>(from[i]);
          const auto factor =
              static_cast<T>(1 / std::sqrt(squares / static_cast<double>(count) + epsilon));
          for (int64_t i = 0; i < count; ++i) to[i] = from[i] * factor * w[i];
        });
  });
  return {cast(y, types[0].dtype)};
}

}  // namespace

constinit const OpDef kLayerNormalization = {
    .name = "LayerNormalization",
    .min_inputs = 2,
    .max_inputs = 3,
    .infer = infer_layer,
    .tie = tie,
    .channels = "normalized axes stay, for their elements share one mean; others pass through",
    .other_ops = layer_ops,
    .eval = eval_layer,
    .native_half = true,
};

constinit const OpDef kRMSNormalization = {
    .name = "RMSNormalization",
    .min_inputs = 2,
    .max_inputs = 2,
    .infer = infer_rms,
    .tie = tie,
    .channels = "normalized axes stay, for their elements share one mean; others pass through",
    .other_ops = rms_ops,
    .eval = eval_rms,
    .native_half = true,
};

}  // namespace pare
