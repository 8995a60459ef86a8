// Element by element on quantized operands: QLinearAdd, QLinearMul, QLinearLeakyRelu,
// QLinearSigmoid, QLinearConcat of com.microsoft. Every tensor comes with its scale and zero point.
// https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md

#include <array>
#include <cmath>

#include "ir/channel_slots.h"
#include "ops/axes.h"
#include "ops/elementwise.h"
#include "ops/quantization.h"
#include "ops/rows.h"

namespace pare {
namespace {

using Tensors = std::span<const Tensor* const>;

/// Scale and zero point of a tensor, both scalars.
struct Affine {
  float scale;
  int32_t zero;
};

/// Those in operands `slot` and `slot` + 1.
Affine affine(Tensors in, size_t slot) {
  return {one_scale(*in[slot]), one_zero_point(operand_or_null(in, slot + 1))};
}

void require_int8(Operands in, size_t slot) {
  require_dtype(in[slot], is_int8, "int8 or uint8 as quantized operand");
}

// -- QLinearAdd, QLinearMul: A, its scale and zero point, B, its, C's ----------------

std::vector<TensorType> infer_binary(const Node&, Operands in) {
  constexpr size_t kRequired[] = {0, 1, 3, 4, 6};
  require_operands(in, kRequired);
  require_int8(in, 0);
  const std::array<Operand, 2> operands = {in[0], in[3]};
  require_one_dtype(operands);
  constexpr size_t kParameters[] = {1, 2, 4, 5, 6, 7};
  for (size_t slot : kParameters) check_parameter(in, slot, 0);
  return {{in[0].type->dtype, broadcast_shape(operands)}};
}

void tie_binary(const Graph&, const Node& node, ChannelSlots& slots) {
  tie_broadcast(slots, node.inputs[0], node.outputs[0]);
  tie_broadcast(slots, node.inputs[3], node.outputs[0]);
  for (ValueId value : node.inputs) slots.fix_rest(value);
}

/// y = round(f(a, b)), where `f` gives units of y's scale with the zero point in it already: that
/// is how ONNX Runtime rounds, and it matters for halves.
template <typename F>
Tensor map_binary(const Node& node, Tensors in, F f) {
  const TensorType type = infer_binary(node, as_operands(in))[0];
  const Quantizer quantizer(integer_range(type.dtype), 1.0f, 0);
  Tensor y = Tensor::uninitialized(type.dtype, type.shape);
  visit_quantized(type.dtype, [&]<typename Q>() {
    broadcast_apply<Q, Q, Q>(*in[0], *in[3], y, [=](Q a, Q b) {
      return static_cast<Q>(quantizer.round(f(static_cast<int32_t>(a), static_cast<int32_t>(b))));
    });
  });
  return y;
}

/// a * b + c rounded once, as a fused multiply-add of floats; exact but for double rounding where
/// `a` is a small integer.
float multiply_add(int32_t a, float b, float c) {
  return static_cast<float>(static_cast<double>(a) * static_cast<double>(b) +
                            static_cast<double>(c));
}

/// In the order of ONNX Runtime's vector code, so that halves round alike.
std::vector<Tensor> eval_add(const Node& node, Tensors in) {
  (void)infer_binary(node, as_operands(in));
  const Affine a = affine(in, 1), b = affine(in, 4), c = affine(in, 6);
  const float a_ratio = a.scale / c.scale, b_ratio = b.scale / c.scale;
  const float fixed = static_cast<float>(c.zero) -
                      (a_ratio * static_cast<float>(a.zero) + b_ratio * static_cast<float>(b.zero));
  return {map_binary(node, in, [=](int32_t x, int32_t y) {
    return multiply_add(x, a_ratio, multiply_add(y, b_ratio, fixed));
  })};
}

std::vector<Tensor> eval_mul(const Node& node, Tensors in) {
  (void)infer_binary(node, as_operands(in));
  const Affine a = affine(in, 1), b = affine(in, 4), c = affine(in, 6);
  const float ratio = a.scale * b.scale / c.scale;
  const auto zero = static_cast<float>(c.zero);
  return {map_binary(node, in, [=](int32_t x, int32_t y) {
    return static_cast<float>((x - a.zero) * (y - b.zero)) * ratio + zero;
  })};
}

// -- QLinearLeakyRelu, QLinearSigmoid: X, its scale and zero point, Y's --------------

/// Results for all 256 values of a byte, by its bits.
using Table = std::array<uint8_t, 256>;

/// y = quantized f(dequantized x), for x of type `from` and y of type `to`.
template <typename F>
Table table_of(DType from, Affine x, DType to, Affine y, F f) {
  const IntegerRange range = integer_range(from);
  const Quantizer quantizer(integer_range(to), y.scale, y.zero);
  Table table{};
  for (int32_t q = range.low; q <= range.high; ++q) {
    const float real = static_cast<float>(q - x.zero) * x.scale;
    table[static_cast<uint8_t>(q)] = static_cast<uint8_t>(quantizer(f(real)));
  }
  return table;
}

/// int8 and uint8 alike are looked up by their bits.
Tensor look_up(const Tensor& x, const Table& table, DType dtype) {
  Tensor y = Tensor::uninitialized(dtype, x.shape());
  const std::span<const std::byte> from = x.bytes();
  const std::span<std::byte> to = y.mutable_bytes();
  for (size_t i = 0; i < from.size(); ++i)
    to[i] = std::byte{table[std::to_integer<size_t>(from[i])]};
  return y;
}

std::vector<TensorType> infer_unary(const Node&, Operands in) {
  constexpr size_t kRequired[] = {0, 1, 3};
  require_operands(in, kRequired);
  require_int8(in, 0);
  for (size_t slot = 1; slot < in.size(); ++slot) check_parameter(in, slot, 0);
  return {*in[0].type};
}

template <typename F>
std::vector<Tensor> map_unary(const Node& node, Tensors in, F f) {
  const DType dtype = infer_unary(node, as_operands(in))[0].dtype;
  return {look_up(*in[0], table_of(dtype, affine(in, 1), dtype, affine(in, 3), f), dtype)};
}

std::vector<Tensor> eval_leaky_relu(const Node& node, Tensors in) {
  const float alpha = node.attribute("alpha", 0.01f);
  return map_unary(node, in, [=](float x) { return x < 0 ? x * alpha : x; });
}

std::vector<Tensor> eval_sigmoid(const Node& node, Tensors in) {
  return map_unary(node, in, [](float x) { return 1 / (1 + std::exp(-x)); });
}

// -- QLinearConcat: Y's scale and zero point, then X, its scale and zero point, ... --

/// The concatenated operands are every third from here on.
constexpr size_t kFirst = 2, kStride = 3;

Node as_concat(const Node& node) {
  std::vector<size_t> slots;
  for (size_t slot = kFirst; slot < node.inputs.size(); slot += kStride) slots.push_back(slot);
  return with_inputs(node, slots);
}

std::vector<TensorType> infer_concat(const Node& node, Operands in) {
  if ((in.size() - kFirst) % kStride != 0) {
    throw Error(ErrorKind::kInput, "has " + std::to_string(in.size()) +
                                       " inputs, expected 2 and then 3 for each tensor");
  }
  require_int8(in, 1);
  std::vector<TensorType> types;
  for (size_t slot = kFirst; slot < in.size(); slot += kStride) {
    if (!in[slot] || !in[slot + 1] || !in[slot + 2])
      throw Error(ErrorKind::kInput, "an operand is left out, but all are required");
    require_int8(in, slot);
    check_parameter(in, slot + 1, 0);
    check_parameter(in, slot + 2, 0);
    types.push_back({in[1].type->dtype, in[slot].shape()});
  }
  std::vector<Operand> operands;
  for (const TensorType& type : types) operands.push_back({&type, nullptr});
  return kConcat.infer(node, operands);
}

void tie_concat(const Graph& graph, const Node& node, ChannelSlots& slots) {
  kConcat.tie(graph, as_concat(node), slots);
  for (ValueId value : node.inputs) slots.fix_rest(value);
}

std::vector<Tensor> eval_concat(const Node& node, Tensors in) {
  const DType dtype = infer_concat(node, as_operands(in))[0].dtype;
  const Affine y = {one_scale(*in[0]), one_zero_point(in[1])};
  std::vector<Tensor> rescaled;
  for (size_t slot = kFirst; slot < in.size(); slot += kStride) {
    const Table table =
        table_of(in[slot]->dtype(), affine(in, slot + 1), dtype, y, [](float x) { return x; });
    rescaled.push_back(look_up(*in[slot], table, dtype));
  }
  std::vector<const Tensor*> operands;
  for (const Tensor& tensor : rescaled) operands.push_back(&tensor);
  return kConcat.eval(node, operands);
}

constexpr OpDef binary(std::string_view name, std::vector<Tensor> (*eval)(const Node&, Tensors)) {
  return {.name = name,
          .domain = "com.microsoft",
          .min_inputs = 2,
          .max_inputs = 8,
          .infer = infer_binary,
          .tie = tie_binary,
          .channels = kBroadcastChannels,
          .other_ops = one_per_output,
          .eval = eval};
}

constexpr OpDef unary(std::string_view name, std::vector<Tensor> (*eval)(const Node&, Tensors)) {
  return {.name = name,
          .domain = "com.microsoft",
          .min_inputs = 2,
          .max_inputs = 5,
          .infer = infer_unary,
          .tie = tie_like_first,
          .channels = kLikeFirstChannels,
          .other_ops = one_per_output,
          .eval = eval};
}

}  // namespace

constinit const OpDef kMsQLinearAdd = binary("QLinearAdd", eval_add);
constinit const OpDef kMsQLinearConcat = {.name = "QLinearConcat",
                                          .domain = "com.microsoft",
                                          .min_inputs = 5,
                                          .max_inputs = OpDef::kVariadic,
                                          .infer = infer_concat,
                                          .tie = tie_concat,
                                          .channels = "as in Concat",
                                          .other_ops = one_per_output,
                                          .eval = eval_concat};
constinit const OpDef kMsQLinearLeakyRelu = unary("QLinearLeakyRelu", eval_leaky_relu);
constinit const OpDef kMsQLinearMul = binary("QLinearMul", eval_mul);
constinit const OpDef kMsQLinearSigmoid = unary("QLinearSigmoid", eval_sigmoid);

}  // namespace pare
