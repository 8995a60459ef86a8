// Convolution of quantized operands: QLinearConv and ConvInteger.
// https://onnx.ai/onnx/operators/onnx__QLinearConv.html
//
//   sum = Conv(x - x_zero, w - w_zero) + bias                                     in int32
//   y   = saturate(round(sum * (x_scale * w_scale / y_scale)) + y_zero)           QLinearConv
//
// The weight's scale and zero point are scalars or have one entry for each filter. The sums are
// computed by Conv in the float type that holds them exactly.

#include <algorithm>
#include <array>
#include <cmath>

#include "ir/channel_slots.h"
#include "ops/axes.h"
#include "ops/elementwise.h"
#include "ops/integer_math.h"
#include "ops/quantization.h"
#include "ops/rows.h"

namespace pare {
namespace {

using Tensors = std::span<const Tensor* const>;

/// Where the operands are.
struct Slots {
  size_t x, x_zero, w, w_zero, bias;
};
constexpr size_t kNone = ~size_t{0};
constexpr Slots kQLinear = {0, 2, 3, 5, 8};
constexpr Slots kInteger = {0, 2, 1, 3, kNone};

/// The type of Conv's result for the operands of these shapes; throws Error(kInput) where they do
/// not fit.
Shape conv_shape(const Node& node, Operands in, const Slots& s) {
  require_dtype(in[s.x], is_int8, "int8 or uint8 as input");
  require_dtype(in[s.w], is_int8, "int8 or uint8 as weight");
  TensorType types[3] = {*in[s.x].type, *in[s.w].type, TensorType::unknown()};
  std::array<Operand, 3> operands = {{{&types[0], nullptr}, {&types[1], nullptr}, {}}};
  if (s.bias < in.size() && in[s.bias]) {
    types[2] = *in[s.bias].type;
    require_dtype(
        in[s.bias], [](DType t) { return t == DType::kI32; }, "int32 as bias");
    operands[2] = {&types[2], nullptr};
  }
  for (TensorType& type : types) type.dtype = DType::kF32;
  return kConv.infer(node, operands)[0].shape;
}

/// The operands of Conv among those of the node.
Node as_conv(const Node& node, const Slots& s) {
  const size_t slots[] = {s.x, s.w, s.bias};
  return with_inputs(node, slots);
}

void tie_conv(const Graph& graph, const Node& node, const Slots& s, ChannelSlots& slots) {
  kConv.tie(graph, as_conv(node, s), slots);
  const ValueId y = node.outputs[0];
  tie_parameter(graph, node, s.w_zero, y, 1, slots);
  for (size_t slot = 0; slot < node.inputs.size(); ++slot) {
    const bool scale = s.bias != kNone && slot == s.w_zero - 1;
    if (scale) tie_parameter(graph, node, slot, y, 1, slots);
    slots.fix_rest(node.inputs[slot]);
  }
}

template <const Slots& kSlots>
void tie(const Graph& graph, const Node& node, ChannelSlots& slots) {
  tie_conv(graph, node, kSlots, slots);
}

template <const Slots& kSlots>
uint64_t macs(const Node& node, Operands in, std::span<const TensorType> out) {
  const std::array<Operand, 2> operands = {in[kSlots.x], in[kSlots.w]};
  return kConv.macs(node, operands, out);
}

/// Largest sum of absolute weights of a filter: what bounds a convolution.
double largest_filter(const Tensor& w) {
  double largest = 0;
  const std::span<const float> data = w.data<float>();
  const size_t filters = static_cast<size_t>(std::max<int64_t>(w.shape()[0], 1));
  const size_t count = data.size() / filters;
  for (size_t f = 0; f < filters; ++f) {
    double sum = 0;
    for (float value : data.subspan(f * count, count)) sum += std::fabs(value);
    largest = std::max(largest, sum);
  }
  return largest;
}

/// Conv(x - x_zero, w - w_zero) as i32.
Tensor conv_sums(const Node& node, Tensors in, const Slots& s) {
  const Tensor &x = *in[s.x], &w = *in[s.w];
  const int32_t x_zero = one_zero_point(operand_or_null(in, s.x_zero));
  const Tensor w_zero = zero_point_of(operand_or_null(in, s.w_zero));
  const Tensor weight = centered(w, along_axis(w_zero, 0, w.shape().size()), DType::kF32);
  const DType dtype = exact_float(largest_centered(x.dtype(), x_zero) * largest_filter(weight));
  const Tensor image = centered(x, Tensor::scalar(x_zero), dtype);
  const Tensor filters = cast(weight, dtype);
  const std::array<const Tensor*, 2> operands = {&image, &filters};
  return cast(kConv.eval(node, operands)[0], DType::kI32);
}

// -- QLinearConv -----------------------------------------------------------------

std::vector<TensorType> infer_qlinear(const Node& node, Operands in) {
  const int64_t filters = in[3].shape().empty() ? 0 : in[3].shape()[0];
  constexpr size_t kScalars[] = {1, 2, 6, 7}, kPerFilter[] = {4, 5};
  for (size_t slot : kScalars) check_parameter(in, slot, 0);
  for (size_t slot : kPerFilter) check_parameter(in, slot, filters);
  require_dtype(in[7], is_int8, "int8 or uint8 as output zero point");
  return {{in[7].type->dtype, conv_shape(node, in, kQLinear)}};
}

std::vector<Tensor> eval_qlinear(const Node& node, Tensors in) {
  const TensorType type = infer_qlinear(node, as_operands(in))[0];
  Tensor sums = conv_sums(node, in, kQLinear);
  const size_t rank = sums.shape().size();
  if (const Tensor* bias = operand_or_null(in, 8)) {
    Tensor biased = Tensor::uninitialized(DType::kI32, sums.shape());
    broadcast_apply<int32_t, int32_t, int32_t>(sums, along_axis(*bias, 1, rank), biased,
                                               wrap_add<int32_t>);
    sums = std::move(biased);
  }
  const float x_scale = one_scale(*in[1]), y_scale = one_scale(*in[6]);
  const Tensor multiplier = map_elements<float, float>(
      scale_of(*in[4]), [=](float w_scale) { return x_scale * w_scale / y_scale; });
  return {requantize(sums, along_axis(multiplier, 1, rank), one_zero_point(in[7]), type.dtype)};
}

/// Rescaling, and the bias: an operation each per output element.
uint64_t other_ops(const Node& node, Operands in, std::span<const TensorType> outputs) {
  return (in.size() > 8 && in[8] ? 2 : 1) * one_per_output(node, in, outputs);
}

// -- ConvInteger -----------------------------------------------------------------

std::vector<TensorType> infer_integer(const Node& node, Operands in) {
  check_parameter(in, 2, 0);
  check_parameter(in, 3, in[1].shape().empty() ? 0 : in[1].shape()[0]);
  return {{DType::kI32, conv_shape(node, in, kInteger)}};
}

std::vector<Tensor> eval_integer(const Node& node, Tensors in) {
  (void)infer_integer(node, as_operands(in));
  return {conv_sums(node, in, kInteger)};
}

void resize_conv(Graph& graph, NodeId id, const ShapeChange& change) {
  kConv.resize(graph, id, change);
}

}  // namespace

constinit const OpDef kConvInteger = {.name = "ConvInteger",
                                      .min_inputs = 2,
                                      .max_inputs = 4,
                                      .infer = infer_integer,
                                      .tie = tie<kInteger>,
                                      .channels = "as in Conv, with a filter's zero point",
                                      .resize = resize_conv,
                                      .macs = macs<kInteger>,
                                      .eval = eval_integer};
constinit const OpDef kQLinearConv = {
    .name = "QLinearConv",
    .min_inputs = 8,
    .max_inputs = 9,
    .infer = infer_qlinear,
    .tie = tie<kQLinear>,
    .channels = "as in Conv, with a filter's scale and zero point",
    .resize = resize_conv,
    .macs = macs<kQLinear>,
    .other_ops = other_ops,
    .eval = eval_qlinear};

}  // namespace pare
