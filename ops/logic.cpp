// Comparisons, logic and bits of two operands that broadcast to each other.
// https://onnx.ai/onnx/operators/onnx__Equal.html and its like.

#include <functional>

#include "ir/graph.h"
#include "ops/elementwise.h"
#include "ops/rows.h"

namespace pare {
namespace {

using Tensors = std::span<const Tensor* const>;

Tensor output_of(const TensorType& type) { return Tensor::uninitialized(type.dtype, type.shape); }

// -- Comparisons -----------------------------------------------------------------

std::vector<TensorType> infer_order(const Node& node, Operands in) {
  require_dtype(
      in[0], [](DType t) { return is_float(t) || is_integer(t); }, "numbers");
  return infer_comparison(node, in);
}

template <typename F>
std::vector<Tensor> compare(const Node& node, Tensors in) {
  Tensor y = output_of(infer_order(node, as_operands(in))[0]);
  visit_number(in[0]->dtype(), [&]<typename T>() {
    broadcast_apply<T, T, bool>(*in[0], *in[1], y, [](T a, T b) { return F()(a, b); });
  });
  return {std::move(y)};
}

/// Strings are compared through numbers that stand for them.
std::vector<Tensor> equal_strings(const Tensor& a, const Tensor& b, Tensor y) {
  std::map<std::string, int64_t> codes;
  const auto encode = [&](const Tensor& strings) {
    std::vector<int64_t> result;
    for (const std::string& s : strings.strings())
      result.push_back(codes.emplace(s, static_cast<int64_t>(codes.size())).first->second);
    return Tensor(strings.shape(), result);
  };
  const Tensor codes_a = encode(a), codes_b = encode(b);
  broadcast_apply<int64_t, int64_t, bool>(codes_a, codes_b, y, std::equal_to<>());
  return {std::move(y)};
}

std::vector<Tensor> equal(const Node& node, Tensors in) {
  Tensor y = output_of(infer_comparison(node, as_operands(in))[0]);
  if (in[0]->dtype() == DType::kString) return equal_strings(*in[0], *in[1], std::move(y));
  if (in[0]->dtype() == DType::kBool) {
    broadcast_apply<bool, bool, bool>(*in[0], *in[1], y, std::equal_to<>());
    return {std::move(y)};
  }
  return compare<std::equal_to<>>(node, in);
}

// -- Logic -----------------------------------------------------------------------

std::vector<TensorType> infer_bool(const Node& node, Operands in) {
  require_dtype(
      in[0], [](DType t) { return t == DType::kBool; }, "bool");
  return infer_comparison(node, in);
}

template <typename F>
std::vector<Tensor> logic(const Node& node, Tensors in) {
  Tensor y = output_of(infer_bool(node, as_operands(in))[0]);
  broadcast_apply<bool, bool, bool>(*in[0], *in[1], y, [](bool a, bool b) { return F()(a, b); });
  return {std::move(y)};
}

// -- Bits ------------------------------------------------------------------------

std::vector<TensorType> infer_bits(const Node& node, Operands in) {
  require_dtype(in[0], is_integer, "integers");
  return infer_broadcast(node, in);
}

template <typename F>
std::vector<Tensor> bits(const Node& node, Tensors in, F f) {
  Tensor y = output_of(infer_bits(node, as_operands(in))[0]);
  visit_integer(y.dtype(), [&]<typename T>() { broadcast_apply<T, T, T>(*in[0], *in[1], y, f); });
  return {std::move(y)};
}

template <typename F>
std::vector<Tensor> bitwise(const Node& node, Tensors in) {
  return bits(node, in, [](auto a, auto b) { return static_cast<decltype(a)>(F()(a, b)); });
}

/// A shift by the width or more, or by a negative number, leaves copies of the sign alone, or no
/// bit.
std::vector<Tensor> bit_shift(const Node& node, Tensors in) {
  const std::string direction = node.attribute("direction", "");
  if (direction != "LEFT" && direction != "RIGHT") {
    throw Error(ErrorKind::kInput,
                "attribute direction is '" + direction + "', expected LEFT or RIGHT");
  }
  const auto shift = [left = direction == "LEFT"](auto a, auto b) {
    using T = decltype(a);
    const bool all = b < T{0} || static_cast<uint64_t>(b) >= 8 * sizeof(T);
    if (!left) return static_cast<T>(a >> (all ? 8 * sizeof(T) - 1 : static_cast<size_t>(b)));
    return all ? T{0} : static_cast<T>(static_cast<uint64_t>(a) << b);
  };
  return bits(node, in, shift);
}

using Infer = std::vector<TensorType>(const Node&, Operands);
using Eval = std::vector<Tensor>(const Node&, Tensors);

constexpr OpDef row(std::string_view name, Infer* infer, Eval* eval) {
  return {.name = name,
          .min_inputs = 2,
          .max_inputs = 2,
          .infer = infer,
          .tie = tie_broadcast,
          .channels = kBroadcastChannels,
          .other_ops = one_per_output,
          .eval = eval};
}

}  // namespace

constinit const OpDef kAnd = row("And", infer_bool, logic<std::logical_and<>>);
constinit const OpDef kBitShift = row("BitShift", infer_bits, bit_shift);
constinit const OpDef kBitwiseAnd = row("BitwiseAnd", infer_bits, bitwise<std::bit_and<>>);
constinit const OpDef kBitwiseOr = row("BitwiseOr", infer_bits, bitwise<std::bit_or<>>);
constinit const OpDef kBitwiseXor = row("BitwiseXor", infer_bits, bitwise<std::bit_xor<>>);
constinit const OpDef kEqual = row("Equal", infer_comparison, equal);
constinit const OpDef kGreater = row("Greater", infer_order, compare<std::greater<>>);
constinit const OpDef kGreaterOrEqual =
    row("GreaterOrEqual", infer_order, compare<std::greater_equal<>>);
constinit const OpDef kLess = row("Less", infer_order, compare<std::less<>>);
constinit const OpDef kLessOrEqual = row("LessOrEqual", infer_order, compare<std::less_equal<>>);
constinit const OpDef kOr = row("Or", infer_bool, logic<std::logical_or<>>);
constinit const OpDef kXor = row("Xor", infer_bool, logic<std::not_equal_to<>>);

}  // namespace pare
