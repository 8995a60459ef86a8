// Gelu and its kin of ONNX Runtime, element by element:
//
//   Gelu(x)      = x / 2 * (1 + erf(x / sqrt 2))
//   Gelu, tanh   = x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))
//   BiasGelu     = Gelu(x + bias)          bias [C] along the last axis
//   FastGelu     = Gelu, tanh (x + bias)   bias optional
//   QuickGelu    = x * sigmoid(alpha x)
//
// https://onnx.ai/onnx/operators/onnx__Gelu.html
// https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md

#include <cmath>
#include <numbers>

#include "ir/channel_slots.h"
#include "ops/elementwise.h"
#include "ops/rows.h"
#include "ops/vector_math.h"

namespace pare {
namespace {

using Tensors = std::span<const Tensor* const>;

template <typename T>
T gelu_erf(T x) {
  return x * T{0.5} * (1 + std::erf(x * (1 / std::numbers::sqrt2_v<T>)));
}

/// Written with (1 + tanh u) / 2 = sigmoid(2 u), which does not cancel where x is far below 0.
template <typename T>
T gelu_tanh(T x) {
  const T inner = x + static_cast<T>(0.044715) * x * x * x;
  return x * fast_sigmoid(static_cast<T>(2 * 0.7978845608028653559) * inner);
}

template <typename F>
std::vector<Tensor> map_float(const Tensor& x, F f) {
  return {visit_float(x.dtype(), [&]<typename T>() { return map_elements<T, T>(x, f); })};
}

std::vector<TensorType> infer(const Node& node, Operands in) {
  require_dtype(in[0], is_float, "floats");
  if (in.size() > 1 && in[1]) {
    require_one_dtype(in);
    (void)broadcast_strides(in[1].shape(), in[0].shape());
  }
  return infer_like_first(node, in);
}

bool approximate(const Node& node) {
  const std::string how = node.attribute("approximate", "none");
  if (how == "tanh") return true;
  if (how == "none") return false;
  throw Error(ErrorKind::kInput, "attribute approximate is '" + how + "', expected none or tanh");
}

std::vector<Tensor> gelu(const Node& node, Tensors in) {
  if (approximate(node)) return map_float(*in[0], [](auto x) { return gelu_tanh(x); });
  return map_float(*in[0], [](auto x) { return gelu_erf(x); });
}

std::vector<Tensor> quick_gelu(const Node& node, Tensors in) {
  const float alpha = node.attribute("alpha", 1.702f);
  return map_float(*in[0], [=](auto x) { return x * fast_sigmoid(decltype(x){alpha} * x); });
}

/// f(x + bias), or f(x) without a bias.
template <typename F>
std::vector<Tensor> map_biased(Tensors in, F f) {
  if (in.size() < 2 || !in[1]) return map_float(*in[0], f);
  (void)broadcast_strides(in[1]->shape(), in[0]->shape());
  Tensor y = Tensor::uninitialized(in[0]->dtype(), in[0]->shape());
  visit_float(y.dtype(), [&]<typename T>() {
    broadcast_apply<T, T, T>(*in[0], *in[1], y, [f](T x, T bias) { return f(x + bias); });
  });
  return {std::move(y)};
}

std::vector<Tensor> bias_gelu(const Node&, Tensors in) {
  return map_biased(in, [](auto x) { return gelu_erf(x); });
}

std::vector<Tensor> fast_gelu(const Node&, Tensors in) {
  return map_biased(in, [](auto x) { return gelu_tanh(x); });
}

constexpr OpDef row(std::string_view name, std::string_view domain, int min_inputs, int max_inputs,
                    std::vector<Tensor> (*eval)(const Node&, Tensors)) {
  return {.name = name,
          .domain = domain,
          .min_inputs = min_inputs,
          .max_inputs = max_inputs,
          .infer = infer,
          .tie = tie_broadcast,
          .channels = kBroadcastChannels,
          .other_ops = one_per_output,
          .eval = eval};
}

}  // namespace

constinit const OpDef kGelu = row("Gelu", "", 1, 1, gelu);
constinit const OpDef kMsBiasGelu = row("BiasGelu", "com.microsoft", 2, 2, bias_gelu);
constinit const OpDef kMsFastGelu = row("FastGelu", "com.microsoft", 1, 2, fast_gelu);
constinit const OpDef kMsGelu = row("Gelu", "com.microsoft", 1, 1, gelu);
constinit const OpDef kMsQuickGelu = row("QuickGelu", "com.microsoft", 1, 1, quick_gelu);

}  // namespace pare
