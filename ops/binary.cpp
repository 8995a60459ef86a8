// Arithmetic of two operands that broadcast to each other: Add, Sub, Mul, Div, Mod, Pow.
// https://onnx.ai/onnx/operators/onnx__Add.html and its like.

#include <algorithm>
#include <cmath>

#include "ir/graph.h"
#include "ops/elementwise.h"
#include "ops/integer_math.h"
#include "ops/rows.h"

namespace pare {
namespace {

using Tensors = std::span<const Tensor* const>;

std::vector<TensorType> infer(const Node& node, Operands in) {
  require_dtype(
      in[0], [](DType t) { return is_float(t) || is_integer(t); }, "numbers");
  return infer_broadcast(node, in);
}

/// A tensor for the output, its operands checked.
Tensor output_of(const Node& node, Tensors in) {
  const TensorType type = infer(node, as_operands(in))[0];
  return Tensor::uninitialized(type.dtype, type.shape);
}

/// Y = F(A, B) over all number types.
template <typename F>
std::vector<Tensor> eval(const Node& node, Tensors in) {
  Tensor y = output_of(node, in);
  visit_number(y.dtype(), [&]<typename T>() {
    broadcast_apply<T, T, T>(*in[0], *in[1], y,
                             [](T a, T b) { return F().template operator()<T>(a, b); });
  });
  return {std::move(y)};
}

struct Add {
  template <typename T>
  T operator()(T a, T b) {
    return wrap_add(a, b);
  }
};

struct Sub {
  template <typename T>
  T operator()(T a, T b) {
    return wrap_subtract(a, b);
  }
};

struct Mul {
  template <typename T>
  T operator()(T a, T b) {
    return wrap_multiply(a, b);
  }
};

/// Integers truncate towards zero; the caller has excluded a divisor of 0.
struct Div {
  template <typename T>
  T operator()(T a, T b) {
    if constexpr (std::is_integral_v<T> && std::is_signed_v<T>) {
      if (b == T{-1}) return wrap_subtract(T{0}, a);  // The lowest number has no negative.
    }
    return static_cast<T>(a / b);
  }
};

/// Integer remainder with the sign of the divisor, which is not 0.
struct FloorMod {
  template <typename T>
  T operator()(T a, T b) {
    if constexpr (std::is_floating_point_v<T>) {
      const T rest = std::fmod(a, b);
      return rest != T{0} && (rest < T{0}) != (b < T{0}) ? rest + b : rest;
    } else if constexpr (std::is_signed_v<T>) {
      if (b == T{-1}) return T{0};
      const T rest = static_cast<T>(a % b);
      return rest != T{0} && (rest < T{0}) != (b < T{0}) ? static_cast<T>(rest + b) : rest;
    } else {
      return static_cast<T>(a % b);
    }
  }
};

/// Remainder with the sign of the dividend, as C's fmod.
struct TruncatedMod {
  template <typename T>
  T operator()(T a, T b) {
    if constexpr (std::is_floating_point_v<T>) {
      return std::fmod(a, b);
    } else {
      if constexpr (std::is_signed_v<T>) {
        if (b == T{-1}) return T{0};
      }
      return static_cast<T>(a % b);
    }
  }
};

void require_no_integer_zero(const Tensor& divisor) {
  if (!is_integer(divisor.dtype())) return;
  visit_integer(divisor.dtype(), [&]<typename T>() {
    if (std::ranges::find(divisor.data<T>(), T{0}) != divisor.data<T>().end())
      throw Error(ErrorKind::kInput, "an integer is divided by zero");
  });
}

std::vector<Tensor> div(const Node& node, Tensors in) {
  (void)infer(node, as_operands(in));
  require_no_integer_zero(*in[1]);
  return eval<Div>(node, in);
}

std::vector<Tensor> mod(const Node& node, Tensors in) {
  (void)infer(node, as_operands(in));
  require_no_integer_zero(*in[1]);
  if (node.attribute<int64_t>("fmod", 0) != 0) return eval<TruncatedMod>(node, in);
  return eval<FloorMod>(node, in);
}

std::vector<TensorType> infer_pow(const Node&, Operands in) {
  for (const Operand& x : in)
    require_dtype(
        x, [](DType t) { return is_float(t) || is_integer(t); }, "numbers");
  return {{in[0].type->dtype, broadcast_shape(in)}};
}

/// base^exponent of integers by repeated squaring, wrapping around; a negative exponent truncates
/// the fraction, so that only 1 and -1 survive it.
template <typename T>
T integer_power(T base, int64_t exponent) {
  if (exponent < 0) {
    if (base == T{1}) return T{1};
    if constexpr (std::is_signed_v<T>) {
      if (base == T{-1}) return exponent % 2 == 0 ? T{1} : T{-1};
    }
    return T{0};
  }
  T result{1};
  for (T square = base; exponent > 0; exponent >>= 1) {
    if (exponent & 1) result = wrap_multiply(result, square);
    square = wrap_multiply(square, square);
  }
  return result;
}

template <typename T>
void float_power(const Tensor& base, const Tensor& exponent, Tensor& y) {
  if (exponent.size() == 1 && exponent.data<T>()[0] == T{2}) {
    broadcast_apply<T, T, T>(base, exponent, y, [](T a, T) { return a * a; });
  } else {
    broadcast_apply<T, T, T>(base, exponent, y, [](T a, T b) { return std::pow(a, b); });
  }
}

std::vector<Tensor> pow(const Node& node, Tensors in) {
  const TensorType type = infer_pow(node, as_operands(in))[0];
  Tensor y = Tensor::uninitialized(type.dtype, type.shape);
  visit_number(type.dtype, [&]<typename T>() {
    if constexpr (std::is_floating_point_v<T>) {
      float_power<T>(*in[0], cast(*in[1], type.dtype), y);
    } else if (is_integer(in[1]->dtype())) {
      broadcast_apply<T, int64_t, T>(*in[0], cast(*in[1], DType::kI64), y, integer_power<T>);
    } else {
      Tensor wide = Tensor::uninitialized(DType::kF64, type.shape);
      float_power<double>(cast(*in[0], DType::kF64), cast(*in[1], DType::kF64), wide);
      y = cast(wide, type.dtype);
    }
  });
  return {std::move(y)};
}

constexpr OpDef row(std::string_view name, std::vector<Tensor> (*eval)(const Node&, Tensors),
                    Quant quant = Quant::kFloat) {
  return {.name = name,
          .min_inputs = 2,
          .max_inputs = 2,
          .infer = infer,
          .tie = tie_broadcast,
          .channels = kBroadcastChannels,
          .other_ops = one_per_output,
          .eval = eval,
          .quant = quant};
}

}  // namespace

constinit const OpDef kAdd = row("Add", eval<Add>, Quant::kRescale);
constinit const OpDef kDiv = row("Div", div);
constinit const OpDef kMod = row("Mod", mod);
constinit const OpDef kMul = row("Mul", eval<Mul>, Quant::kRescale);
constinit const OpDef kPow = {.name = "Pow",
                              .min_inputs = 2,
                              .max_inputs = 2,
                              .infer = infer_pow,
                              .tie = tie_broadcast,
                              .channels = kBroadcastChannels,
                              .other_ops = one_per_output,
                              .eval = pow};
constinit const OpDef kSub = row("Sub", eval<Sub>);

}  // namespace pare
