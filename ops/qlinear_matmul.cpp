// Matrix products of quantized operands: MatMulInteger, QLinearMatMul, and com.microsoft's QGemm.
// https://onnx.ai/onnx/operators/onnx__QLinearMatMul.html
// https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md#com.microsoft.QGemm
//
//   sum = (a - a_zero) (b - b_zero)                                             in int32
//   y   = saturate(round(sum * (a_scale * b_scale / y_scale)) + y_zero)
//
// A's scale and zero point are scalars or have one entry a row, B's one a column. The sums are
// computed by MatMul or Gemm in the float type that holds them exactly.

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

/// Where the operands are, and the row whose product this is.
struct Form {
  const OpDef* product;
  size_t a, a_zero, b, b_zero;
  bool scaled;  ///< A scale stands right before each zero point.
};
constexpr Form kQLinear = {&kMatMul, 0, 2, 3, 5, true};
constexpr Form kInteger = {&kMatMul, 0, 2, 1, 3, false};
constexpr Form kGemmForm = {&kGemm, 0, 2, 3, 5, true};

/// The node as the float product sees it: two operands, and no factors for Gemm.
Node as_product(const Node& node, const Form& form) {
  const std::array<size_t, 2> slots = {form.a, form.b};
  Node result = with_inputs(node, slots);
  result.attributes.erase("alpha");
  return result;
}

/// Shape of the product; throws Error(kInput) where the operands do not fit.
Shape product_shape(const Node& node, Operands in, const Form& form) {
  require_dtype(in[form.a], is_int8, "int8 or uint8 as first matrix");
  require_dtype(in[form.b], is_int8, "int8 or uint8 as second matrix");
  const TensorType a = {DType::kF32, in[form.a].shape()}, b = {DType::kF32, in[form.b].shape()};
  const std::array<Operand, 2> operands = {{{&a, nullptr}, {&b, nullptr}}};
  return form.product->infer(as_product(node, form), operands)[0].shape;
}

/// True when B's columns are its rows in memory (Gemm with transB).
bool transposed_b(const Node& node, const Form& form) {
  return form.product == &kGemm && node.attribute<int64_t>("transB", 0) != 0;
}

void tie_product(const Graph& graph, const Node& node, const Form& form, ChannelSlots& slots) {
  form.product->tie(graph, as_product(node, form), slots);
  const ValueId y = node.outputs[0];
  const int rank = static_cast<int>(graph.shape(y).size());
  const auto parameter = [&](size_t slot, int axis) {
    if (axis >= 0) tie_parameter(graph, node, slot, y, axis, slots);
  };
  for (const size_t back : {size_t{0}, size_t{1}}) {  // The zero point, the scale before it.
    if (back == 1 && !form.scaled) break;
    parameter(form.a_zero - back, rank - 2);
    parameter(form.b_zero - back, rank - 1);
  }
  for (ValueId value : node.inputs) slots.fix_rest(value);
}

template <const Form& kForm>
void tie(const Graph& graph, const Node& node, ChannelSlots& slots) {
  tie_product(graph, node, kForm, slots);
}

template <const Form& kForm>
uint64_t macs(const Node& node, Operands in, std::span<const TensorType> out) {
  const std::array<Operand, 2> operands = {in[kForm.a], in[kForm.b]};
  return kForm.product->macs(as_product(node, kForm), operands, out);
}

/// Largest |element| times the number of factors in a sum bounds the sums.
double bound(const Tensor& b, size_t summed_axis, double largest_a) {
  double largest_b = 0;
  for (float value : b.data<float>())
    largest_b = std::max(largest_b, static_cast<double>(std::fabs(value)));
  return largest_a * largest_b * static_cast<double>(b.shape()[summed_axis]);
}

/// A list of zero points or scales of A as a column, of B as a row.
Tensor per_row(const Tensor& parameter, size_t rank) {
  return rank < 2 ? parameter : along_axis(parameter, rank - 2, rank);
}

/// (a - a_zero) (b - b_zero) as i32.
Tensor product_sums(const Node& node, Tensors in, const Form& form) {
  const Tensor &a = *in[form.a], &b = *in[form.b];
  const size_t a_rank = a.shape().size(), b_rank = b.shape().size();
  const Tensor a_zero = zero_point_of(operand_or_null(in, form.a_zero));
  const Tensor b_zero = zero_point_of(operand_or_null(in, form.b_zero));
  const bool transposed = transposed_b(node, form);
  const Tensor right =
      centered(b, transposed ? along_axis(b_zero, 0, b_rank) : b_zero, DType::kF32);
  double largest = 0;
  for (int32_t zero : a_zero.data<int32_t>())
    largest = std::max(largest, largest_centered(a.dtype(), zero));
  const size_t summed = transposed || b_rank < 2 ? b_rank - 1 : b_rank - 2;
  const DType dtype = exact_float(bound(right, summed, largest));
  const Tensor left = centered(a, per_row(a_zero, a_rank), dtype);
  const Tensor wide = cast(right, dtype);
  const std::array<const Tensor*, 2> operands = {&left, &wide};
  return cast(form.product->eval(as_product(node, form), operands)[0], DType::kI32);
}

/// factor * a_scale * b_scale / y_scale, in a shape that broadcasts to the sums.
Tensor multiplier(const Tensor& a_scale, const Tensor& b_scale, float factor, float y_scale,
                  size_t rank) {
  const Tensor a = per_row(scale_of(a_scale), rank), b = scale_of(b_scale);
  Tensor result = Tensor::uninitialized(DType::kF32, broadcast_shape(a.shape(), b.shape()));
  broadcast_apply<float, float, float>(
      a, b, result, [=](float x, float y) { return factor * (x * y) / y_scale; });
  return result;
}

// -- QLinearMatMul ---------------------------------------------------------------

std::vector<TensorType> infer_qlinear(const Node& node, Operands in) {
  check_parameter(in, 6, 0);
  check_parameter(in, 7, 0);
  require_dtype(in[7], is_int8, "int8 or uint8 as output zero point");
  return {{in[7].type->dtype, product_shape(node, in, kQLinear)}};
}

std::vector<Tensor> eval_qlinear(const Node& node, Tensors in) {
  const TensorType type = infer_qlinear(node, as_operands(in))[0];
  const Tensor sums = product_sums(node, in, kQLinear);
  const Tensor factors = multiplier(*in[1], *in[4], 1.0f, one_scale(*in[6]), sums.shape().size());
  return {requantize(sums, factors, one_zero_point(in[7]), type.dtype)};
}

// -- MatMulInteger ---------------------------------------------------------------

std::vector<TensorType> infer_integer(const Node& node, Operands in) {
  return {{DType::kI32, product_shape(node, in, kInteger)}};
}

std::vector<Tensor> eval_integer(const Node& node, Tensors in) {
  (void)infer_integer(node, as_operands(in));
  return {product_sums(node, in, kInteger)};
}

// -- QGemm: A, a_scale, a_zero, B, b_scale, b_zero, C, y_scale, y_zero ------------

std::vector<TensorType> infer_gemm(const Node& node, Operands in) {
  const Shape y = product_shape(node, in, kGemmForm);
  check_parameter(in, 1, 0);
  check_parameter(in, 2, 0);
  if (in.size() > 6 && in[6]) {
    require_dtype(
        in[6], [](DType t) { return t == DType::kI32; }, "int32 as C");
    (void)broadcast_strides(in[6].shape(), y);
  }
  if (in.size() <= 8 || !in[8]) return {{DType::kF32, y}};
  require_dtype(in[8], is_int8, "int8 or uint8 as output zero point");
  return {{in[8].type->dtype, y}};
}

std::vector<Tensor> eval_gemm(const Node& node, Tensors in) {
  const TensorType type = infer_gemm(node, as_operands(in))[0];
  Tensor sums = product_sums(node, in, kGemmForm);
  if (const Tensor* c = operand_or_null(in, 6)) {
    Tensor biased = Tensor::uninitialized(DType::kI32, sums.shape());
    broadcast_apply<int32_t, int32_t, int32_t>(sums, *c, biased, wrap_add<int32_t>);
    sums = std::move(biased);
  }
  const float alpha = node.attribute("alpha", 1.0f);
  const Tensor* y_scale = operand_or_null(in, 7);
  const Tensor factors = multiplier(*in[1], *in[4], alpha, y_scale ? one_scale(*y_scale) : 1.0f, 2);
  if (type.dtype != DType::kF32)
    return {requantize(sums, factors, one_zero_point(in[8]), type.dtype)};
  Tensor y = Tensor::uninitialized(DType::kF32, type.shape);
  broadcast_apply<int32_t, float, float>(
      sums, factors, y, [](int32_t sum, float factor) { return static_cast<float>(sum) * factor; });
  return {std::move(y)};
}

void tie_gemm(const Graph& graph, const Node& node, ChannelSlots& slots) {
  if (node.has_input(6)) tie_broadcast(slots, node.inputs[6], node.outputs[0]);
  tie_product(graph, node, kGemmForm, slots);
}

}  // namespace

constinit const OpDef kMatMulInteger = {
    .name = "MatMulInteger",
    .min_inputs = 2,
    .max_inputs = 4,
    .infer = infer_integer,
    .tie = tie<kInteger>,
    .channels = "as in MatMul, with a row's or column's zero point",
    .macs = macs<kInteger>,
    .eval = eval_integer};
constinit const OpDef kMsQGemm = {
    .name = "QGemm",
    .domain = "com.microsoft",
    .min_inputs = 6,
    .max_inputs = 9,
    .infer = infer_gemm,
    .tie = tie_gemm,
    .channels = "as in Gemm, with a row's or column's scale and zero point",
    .macs = macs<kGemmForm>,
    .other_ops = one_per_output,
    .eval = eval_gemm};
constinit const OpDef kQLinearMatMul = {
    .name = "QLinearMatMul",
    .min_inputs = 8,
    .max_inputs = 8,
    .infer = infer_qlinear,
    .tie = tie<kQLinear>,
    .channels = "as in MatMul, with a row's or column's scale and zero point",
    .macs = macs<kQLinear>,
    .other_ops = one_per_output,
    .eval = eval_qlinear};

}  // namespace pare
