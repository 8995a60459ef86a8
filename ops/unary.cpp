// Mathematical functions of one operand, element by element.
// https://onnx.ai/onnx/operators/onnx__Abs.html and its like.

#include <cmath>

#include "ir/graph.h"
#include "ops/elementwise.h"
#include "ops/integer_math.h"
#include "ops/rows.h"

namespace pare {
namespace {

using Tensors = std::span<const Tensor* const>;

/// Y = F(X) for float types.
template <typename F>
std::vector<Tensor> eval_float(const Node&, Tensors in) {
  return {visit_float(in[0]->dtype(), [&]<typename T>() {
    return map_elements<T, T>(*in[0], [](T x) { return static_cast<T>(F()(x)); });
  })};
}

/// Y = F(X) for float and integer types.
template <typename F>
std::vector<Tensor> eval_number(const Node&, Tensors in) {
  return {visit_number(in[0]->dtype(), [&]<typename T>() {
    return map_elements<T, T>(*in[0], [](T x) { return F().template operator()<T>(x); });
  })};
}

/// Y = F(X) as bool for float types.
template <typename F>
std::vector<Tensor> eval_test(const Node&, Tensors in) {
  return {visit_float(in[0]->dtype(), [&]<typename T>() {
    return map_elements<T, bool>(*in[0], [](T x) { return F()(x); });
  })};
}

std::vector<TensorType> infer_float(const Node& node, Operands in) {
  require_dtype(in[0], is_float, "floats");
  return infer_like_first(node, in);
}

std::vector<TensorType> infer_number(const Node& node, Operands in) {
  require_dtype(
      in[0], [](DType t) { return is_float(t) || is_integer(t); }, "numbers");
  return infer_like_first(node, in);
}

std::vector<TensorType> infer_test(const Node&, Operands in) {
  require_dtype(in[0], is_float, "floats");
  return {{DType::kBool, in[0].shape()}};
}

using Infer = std::vector<TensorType>(const Node&, Operands);
using Eval = std::vector<Tensor>(const Node&, Tensors);

constexpr OpDef row(std::string_view name, Infer* infer, Eval* eval) {
  return {.name = name,
          .infer = infer,
          .tie = tie_like_first,
          .channels = kLikeFirstChannels,
          .other_ops = one_per_output,
          .eval = eval};
}

#define PARE_FLOAT_FUNCTION(Name, expression)        \
  struct Name {                                      \
    auto operator()(auto x) { return (expression); } \
  };
PARE_FLOAT_FUNCTION(Ceil, std::ceil(x))
PARE_FLOAT_FUNCTION(Floor, std::floor(x))
PARE_FLOAT_FUNCTION(Round, std::nearbyint(x))  // Halves to even.
PARE_FLOAT_FUNCTION(Sqrt, std::sqrt(x))
PARE_FLOAT_FUNCTION(Exp, std::exp(x))
PARE_FLOAT_FUNCTION(Log, std::log(x))
PARE_FLOAT_FUNCTION(Reciprocal, 1 / x)
PARE_FLOAT_FUNCTION(Sin, std::sin(x))
PARE_FLOAT_FUNCTION(Cos, std::cos(x))
PARE_FLOAT_FUNCTION(Tan, std::tan(x))
PARE_FLOAT_FUNCTION(Asin, std::asin(x))
PARE_FLOAT_FUNCTION(Acos, std::acos(x))
PARE_FLOAT_FUNCTION(Atan, std::atan(x))
PARE_FLOAT_FUNCTION(Sinh, std::sinh(x))
PARE_FLOAT_FUNCTION(Cosh, std::cosh(x))
PARE_FLOAT_FUNCTION(Asinh, std::asinh(x))
PARE_FLOAT_FUNCTION(Acosh, std::acosh(x))
PARE_FLOAT_FUNCTION(Atanh, std::atanh(x))
PARE_FLOAT_FUNCTION(Erf, std::erf(x))
PARE_FLOAT_FUNCTION(IsNan, std::isnan(x))
#undef PARE_FLOAT_FUNCTION

struct Abs {
  template <typename T>
  T operator()(T x) {
    if constexpr (std::is_floating_point_v<T>) return std::fabs(x);
    return x < T{0} ? wrap_subtract(T{0}, x) : x;
  }
};

struct Neg {
  template <typename T>
  T operator()(T x) {
    if constexpr (std::is_floating_point_v<T>) return -x;
    return wrap_subtract(T{0}, x);
  }
};

struct Sign {
  template <typename T>
  T operator()(T x) {
    if (x > T{0}) return T{1};
    if constexpr (!std::is_unsigned_v<T>) {
      if (x < T{0}) return static_cast<T>(-1);
    }
    return x == T{0} ? T{0} : x;  // A NaN stays one.
  }
};

std::vector<Tensor> is_inf(const Node& node, Tensors in) {
  const bool positive = node.attribute<int64_t>("detect_positive", 1) != 0;
  const bool negative = node.attribute<int64_t>("detect_negative", 1) != 0;
  return {visit_float(in[0]->dtype(), [&]<typename T>() {
    return map_elements<T, bool>(
        *in[0], [=](T x) { return std::isinf(x) && (std::signbit(x) ? negative : positive); });
  })};
}

std::vector<TensorType> infer_bool(const Node& node, Operands in) {
  require_dtype(
      in[0], [](DType t) { return t == DType::kBool; }, "bool");
  return infer_like_first(node, in);
}

std::vector<Tensor> eval_not(const Node& node, Tensors in) {
  (void)infer_bool(node, as_operands(in));
  return {map_elements<bool, bool>(*in[0], [](bool x) { return !x; })};
}

std::vector<TensorType> infer_integer(const Node& node, Operands in) {
  require_dtype(in[0], is_integer, "integers");
  return infer_like_first(node, in);
}

std::vector<Tensor> bitwise_not(const Node&, Tensors in) {
  return {visit_integer(in[0]->dtype(), [&]<typename T>() {
    return map_elements<T, T>(*in[0], [](T x) { return static_cast<T>(~x); });
  })};
}

}  // namespace

constinit const OpDef kAbs = row("Abs", infer_number, eval_number<Abs>);
constinit const OpDef kAcos = row("Acos", infer_float, eval_float<Acos>);
constinit const OpDef kAcosh = row("Acosh", infer_float, eval_float<Acosh>);
constinit const OpDef kAsin = row("Asin", infer_float, eval_float<Asin>);
constinit const OpDef kAsinh = row("Asinh", infer_float, eval_float<Asinh>);
constinit const OpDef kAtan = row("Atan", infer_float, eval_float<Atan>);
constinit const OpDef kAtanh = row("Atanh", infer_float, eval_float<Atanh>);
constinit const OpDef kBitwiseNot = row("BitwiseNot", infer_integer, bitwise_not);
constinit const OpDef kCeil = row("Ceil", infer_float, eval_float<Ceil>);
constinit const OpDef kCos = row("Cos", infer_float, eval_float<Cos>);
constinit const OpDef kCosh = row("Cosh", infer_float, eval_float<Cosh>);
constinit const OpDef kErf = row("Erf", infer_float, eval_float<Erf>);
constinit const OpDef kExp = row("Exp", infer_float, eval_float<Exp>);
constinit const OpDef kFloor = row("Floor", infer_float, eval_float<Floor>);
constinit const OpDef kIsInf = row("IsInf", infer_test, is_inf);
constinit const OpDef kIsNaN = row("IsNaN", infer_test, eval_test<IsNan>);
constinit const OpDef kLog = row("Log", infer_float, eval_float<Log>);
constinit const OpDef kNeg = row("Neg", infer_number, eval_number<Neg>);
constinit const OpDef kNot = row("Not", infer_bool, eval_not);
constinit const OpDef kReciprocal = row("Reciprocal", infer_float, eval_float<Reciprocal>);
constinit const OpDef kRound = row("Round", infer_float, eval_float<Round>);
constinit const OpDef kSign = row("Sign", infer_number, eval_number<Sign>);
constinit const OpDef kSin = row("Sin", infer_float, eval_float<Sin>);
constinit const OpDef kSinh = row("Sinh", infer_float, eval_float<Sinh>);
constinit const OpDef kSqrt = row("Sqrt", infer_float, eval_float<Sqrt>);
constinit const OpDef kTan = row("Tan", infer_float, eval_float<Tan>);

}  // namespace pare
