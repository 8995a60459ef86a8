// ONNX Cast and CastLike. https://onnx.ai/onnx/operators/onnx__Cast.html
//
// Float to integer truncates. Out of the integer's range ONNX leaves the result open; here it
// saturates. Float8 and float4 are not converted.

#include <charconv>
#include <cmath>

#include "ir/channel_slots.h"
#include "ops/elementwise.h"
#include "ops/onnx_dtype.h"
#include "ops/rows.h"

namespace pare {
namespace {

using Tensors = std::span<const Tensor* const>;

DType target(const Node& node) {
  if (!node.has_attribute("to"))
    throw Error(ErrorKind::kInput, "attribute 'to' is required but left out");
  return dtype_from_onnx(node.attribute<int64_t>("to", 0));
}

/// The shortest decimal that reads back as the same number; ONNX names the infinities.
template <typename T>
std::string shortest(T value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value < 0 ? "-INF" : "INF";
  char buffer[64];
  const auto end = std::to_chars(std::begin(buffer), std::end(buffer), value);
  return {std::begin(buffer), end.ptr};
}

template <typename T>
std::string element_to_text(T value) {
  if constexpr (std::is_same_v<T, bool>) return value ? "1" : "0";
  if constexpr (std::is_integral_v<T>) return std::to_string(value);
  if constexpr (std::is_same_v<T, double>) return shortest(value);
  return shortest(static_cast<float>(value));
}

Tensor to_strings(const Tensor& x) {
  std::vector<std::string> strings;
  visit_dtype(x.dtype(), [&]<typename T>() {
    for (const T value : x.data<T>()) strings.push_back(element_to_text(value));
  });
  return Tensor::of_strings(x.shape(), std::move(strings));
}

/// A whole string as a number; throws Error(kInput) for one that is none.
double parse_float(const std::string& text) {
  const char* first = text.data();
  const char* last = first + text.size();
  if (first != last && *first == '+') ++first;
  double value = 0;
  const auto end = std::from_chars(first, last, value);  // Knows "inf" and "nan" in any case.
  if (end.ec != std::errc() || end.ptr != last)
    throw Error(ErrorKind::kInput, "string '" + text + "' is cast, but is no number");
  return value;
}

int64_t parse_integer(const std::string& text) {
  int64_t value = 0;
  const auto end = std::from_chars(text.data(), text.data() + text.size(), value);
  if (end.ec != std::errc() || end.ptr != text.data() + text.size())
    throw Error(ErrorKind::kInput, "string '" + text + "' is cast, but is no integer");
  return value;
}

/// Strings as f64 or i64, whichever `dtype` takes its numbers from.
Tensor from_strings(const Tensor& x, DType dtype) {
  if (is_float(dtype)) {
    std::vector<double> values;
    for (const std::string& text : x.strings()) values.push_back(parse_float(text));
    return Tensor(x.shape(), values);
  }
  std::vector<int64_t> values;
  for (const std::string& text : x.strings()) values.push_back(parse_integer(text));
  return Tensor(x.shape(), values);
}

/// To a type of 2 or 4 bits: the low bits of the integer part, in two's complement where T is
/// signed.
template <typename T>
Tensor narrowed(const Tensor& x, DType dtype) {
  const Tensor wide = cast(x, DType::kI32);
  const std::span<const int32_t> from = wide.data<int32_t>();
  Tensor y = Tensor::uninitialized(dtype, x.shape());
  const std::span<T> to = y.mutable_data<T>();
  const int shift = 8 - bit_width(dtype);
  for (size_t i = 0; i < from.size(); ++i) {
    const auto high = static_cast<uint8_t>(static_cast<uint32_t>(from[i]) << shift);
    to[i] = static_cast<T>(static_cast<T>(high) >> shift);
  }
  return y;
}

Tensor convert(const Tensor& x, DType dtype) {
  if (x.dtype() == dtype) return x;
  if (dtype == DType::kString) return to_strings(x);
  const Tensor numbers = x.dtype() == DType::kString ? from_strings(x, dtype) : x;
  if (dtype == DType::kI4 || dtype == DType::kI2) return narrowed<int8_t>(numbers, dtype);
  if (dtype == DType::kU4 || dtype == DType::kU2) return narrowed<uint8_t>(numbers, dtype);
  return cast(numbers, dtype);
}

std::vector<TensorType> infer_cast(const Node& node, Operands in) {
  return {{target(node), in[0].shape()}};
}

std::vector<Tensor> eval_cast(const Node& node, Tensors in) {
  return {convert(*in[0], target(node))};
}

std::vector<TensorType> infer_cast_like(const Node&, Operands in) {
  return {{in[1].type->dtype, in[0].shape()}};
}

std::vector<Tensor> eval_cast_like(const Node&, Tensors in) {
  return {convert(*in[0], in[1]->dtype())};
}

/// Nothing but the type of the second operand is looked at, so its slices may go as they like.
void tie_cast_like(const Graph& graph, const Node& node, ChannelSlots& slots) {
  const ValueId x = node.inputs[0], like = node.inputs[1];
  for (int axis = 0; axis < static_cast<int>(graph.shape(x).size()); ++axis)
    slots.tie({x, axis}, {node.outputs[0], axis});
  for (int axis = 0; axis < static_cast<int>(graph.shape(like).size()); ++axis)
    slots.free({like, axis});
}

}  // namespace

constinit const OpDef kCast = {.name = "Cast",
                               .infer = infer_cast,
                               .tie = tie_like_first,
                               .channels = kLikeFirstChannels,
                               .other_ops = one_per_output,
                               .eval = eval_cast,
                               .native_half = true};
constinit const OpDef kCastLike = {
    .name = "CastLike",
    .min_inputs = 2,
    .max_inputs = 2,
    .infer = infer_cast_like,
    .tie = tie_cast_like,
    .channels = "every index passes through; the second operand is tied to nothing",
    .other_ops = one_per_output,
    .eval = eval_cast_like,
    .native_half = true};

}  // namespace pare
