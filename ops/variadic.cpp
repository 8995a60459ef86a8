// Max, Min, Sum and Mean of any number of operands that broadcast to each other.
// https://onnx.ai/onnx/operators/onnx__Max.html and its like.

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
  for (const Operand& x : in) {
    if (!x) throw Error(ErrorKind::kInput, "an operand is left out, but all are required");
  }
  return infer_broadcast(node, in);
}

/// One operation for each output element and operand behind the first.
uint64_t other_ops(const Node& node, Operands in, std::span<const TensorType> outputs) {
  return (in.size() - 1) * one_per_output(node, in, outputs);
}

/// Folds the operands from the left with `f`.
template <typename T, typename F>
Tensor fold(Tensors in, F f) {
  Tensor result = *in[0];
  for (const Tensor* x : in.subspan(1)) {
    Tensor next =
        Tensor::uninitialized(result.dtype(), broadcast_shape(result.shape(), x->shape()));
    broadcast_apply<T, T, T>(result, *x, next, f);
    result = std::move(next);
  }
  return result;
}

/// Whether `b` replaces `a`: it wins, or is a NaN, which spreads as it does in numpy.
template <typename T>
bool wins(T b, bool greater) {
  return greater || b != b;
}

std::vector<Tensor> max(const Node& node, Tensors in) {
  (void)infer(node, as_operands(in));
  return {visit_number(in[0]->dtype(), [&]<typename T>() {
    return fold<T>(in, [](T a, T b) { return wins(b, b > a) ? b : a; });
  })};
}

std::vector<Tensor> min(const Node& node, Tensors in) {
  (void)infer(node, as_operands(in));
  return {visit_number(in[0]->dtype(), [&]<typename T>() {
    return fold<T>(in, [](T a, T b) { return wins(b, b < a) ? b : a; });
  })};
}

std::vector<Tensor> sum(const Node& node, Tensors in) {
  (void)infer(node, as_operands(in));
  return {visit_number(in[0]->dtype(), [&]<typename T>() { return fold<T>(in, wrap_add<T>); })};
}

std::vector<Tensor> mean(const Node& node, Tensors in) {
  Tensor y = std::move(sum(node, in)[0]);
  visit_number(y.dtype(), [&]<typename T>() {
    const auto count = static_cast<T>(in.size());
    for (T& x : y.mutable_data<T>()) x = static_cast<T>(x / count);
  });
  return {std::move(y)};
}

constexpr OpDef row(std::string_view name, std::vector<Tensor> (*eval)(const Node&, Tensors),
                    Quant quant = Quant::kFloat) {
  return {.name = name,
          .min_inputs = 1,
          .max_inputs = OpDef::kVariadic,
          .infer = infer,
          .tie = tie_broadcast,
          .channels = kBroadcastChannels,
          .other_ops = other_ops,
          .eval = eval,
          .quant = quant};
}

}  // namespace

constinit const OpDef kMax = row("Max", max);
constinit const OpDef kMean = row("Mean", mean);
constinit const OpDef kMin = row("Min", min);
constinit const OpDef kSum = row("Sum", sum);

}  // namespace pare
