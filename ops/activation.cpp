// Activations without operands but X, element by element.
// https://onnx.ai/onnx/operators/onnx__Relu.html and its like; attributes are named as there.

#include <algorithm>
#include <cmath>

#include "ir/graph.h"
#include "ops/elementwise.h"
#include "ops/rows.h"
#include "ops/vector_math.h"

namespace pare {
namespace {

using Tensors = std::span<const Tensor* const>;

/// Y = f(X) in X's float type.
template <typename F>
std::vector<Tensor> map_float(const Tensor& x, F f) {
  return {visit_float(x.dtype(), [&]<typename T>() { return map_elements<T, T>(x, f); })};
}

std::vector<TensorType> infer_float(const Node& node, Operands in) {
  require_dtype(in[0], is_float, "floats");
  return infer_like_first(node, in);
}

constexpr OpDef activation(std::string_view name, std::vector<Tensor> (*eval)(const Node&, Tensors),
                           Quant quant = Quant::kFloat) {
  return {.name = name,
          .infer = infer_float,
          .tie = tie_like_first,
          .channels = kLikeFirstChannels,
          .other_ops = one_per_output,
          .eval = eval,
          .quant = quant};
}

std::vector<Tensor> relu(const Node&, Tensors in) {
  return {visit_number(in[0]->dtype(), [&]<typename T>() {
    return map_elements<T, T>(*in[0], [](T x) { return x < T{0} ? T{0} : x; });
  })};
}

std::vector<Tensor> leaky_relu(const Node& node, Tensors in) {
  const float alpha = node.attribute("alpha", 0.01f);
  return map_float(*in[0], [=](auto x) { return x < 0 ? x * decltype(x){alpha} : x; });
}

std::vector<Tensor> elu(const Node& node, Tensors in) {
  const float alpha = node.attribute("alpha", 1.0f);
  return map_float(*in[0], [=](auto x) { return x < 0 ? alpha * std::expm1(x) : x; });
}

std::vector<Tensor> selu(const Node& node, Tensors in) {
  const float alpha = node.attribute("alpha", 1.67326319217681884765625f);
  const float gamma = node.attribute("gamma", 1.05070102214813232421875f);
  return map_float(*in[0], [=](auto x) { return gamma * (x <= 0 ? alpha * std::expm1(x) : x); });
}

std::vector<Tensor> celu(const Node& node, Tensors in) {
  const float alpha = node.attribute("alpha", 1.0f);
  return map_float(*in[0], [=](auto x) { return x < 0 ? alpha * std::expm1(x / alpha) : x; });
}

std::vector<Tensor> thresholded_relu(const Node& node, Tensors in) {
  const float alpha = node.attribute("alpha", 1.0f);
  return map_float(*in[0], [=](auto x) { return x > alpha ? x : decltype(x){0}; });
}

std::vector<Tensor> sigmoid(const Node&, Tensors in) {
  return map_float(*in[0], [](auto x) { return fast_sigmoid(x); });
}

std::vector<Tensor> hard_sigmoid(const Node& node, Tensors in) {
  const float alpha = node.attribute("alpha", 0.2f), beta = node.attribute("beta", 0.5f);
  return map_float(*in[0], [=](auto x) {
    using T = decltype(x);
    return std::min(std::max(T{alpha} * x + T{beta}, T{0}), T{1});
  });
}

std::vector<Tensor> hard_swish(const Node&, Tensors in) {
  return map_float(*in[0], [](auto x) {
    using T = decltype(x);
    return x * std::min(std::max(x * (T{1} / T{6}) + T{0.5}, T{0}), T{1});
  });
}

std::vector<Tensor> tanh(const Node&, Tensors in) {
  return map_float(*in[0], [](auto x) { return fast_tanh(x); });
}

/// log(1 + e^x), written so that neither end overflows.
template <typename T>
T softplus_of(T x) {
  return std::max(x, T{0}) + std::log1p(std::exp(-std::fabs(x)));
}

std::vector<Tensor> softplus(const Node&, Tensors in) {
  return map_float(*in[0], [](auto x) { return softplus_of(x); });
}

std::vector<Tensor> softsign(const Node&, Tensors in) {
  return map_float(*in[0], [](auto x) { return x / (1 + std::fabs(x)); });
}

std::vector<Tensor> mish(const Node&, Tensors in) {
  return map_float(*in[0], [](auto x) { return x * std::tanh(softplus_of(x)); });
}

std::vector<Tensor> swish(const Node& node, Tensors in) {
  const float alpha = node.attribute("alpha", 1.0f);
  return map_float(*in[0], [=](auto x) { return x * fast_sigmoid(decltype(x){alpha} * x); });
}

std::vector<TensorType> infer_number(const Node& node, Operands in) {
  require_dtype(
      in[0], [](DType t) { return is_float(t) || is_integer(t); }, "numbers");
  return infer_like_first(node, in);
}

std::vector<Tensor> shrink(const Node& node, Tensors in) {
  const double bias = node.attribute("bias", 0.0f), lambd = node.attribute("lambd", 0.5f);
  return {visit_number(in[0]->dtype(), [&]<typename T>() {
    return map_elements<T, T>(*in[0], [=](T x) {
      const auto wide = static_cast<double>(x);
      if (wide < -lambd) return static_cast<T>(wide + bias);
      return wide > lambd ? static_cast<T>(wide - bias) : T{0};
    });
  })};
}

}  // namespace

constinit const OpDef kRelu = {.name = "Relu",
                               .infer = infer_number,
                               .tie = tie_like_first,
                               .channels = kLikeFirstChannels,
                               .other_ops = one_per_output,
                               .eval = relu,
                               .quant = Quant::kActivation};
constinit const OpDef kLeakyRelu = activation("LeakyRelu", leaky_relu, Quant::kRescale);
constinit const OpDef kElu = activation("Elu", elu);
constinit const OpDef kSelu = activation("Selu", selu);
constinit const OpDef kCelu = activation("Celu", celu);
constinit const OpDef kThresholdedRelu = activation("ThresholdedRelu", thresholded_relu);
constinit const OpDef kSigmoid = activation("Sigmoid", sigmoid, Quant::kRescale);
constinit const OpDef kHardSigmoid = activation("HardSigmoid", hard_sigmoid);
constinit const OpDef kHardSwish = activation("HardSwish", hard_swish);
constinit const OpDef kTanh = activation("Tanh", tanh);
constinit const OpDef kSoftplus = activation("Softplus", softplus);
constinit const OpDef kSoftsign = activation("Softsign", softsign);
constinit const OpDef kMish = activation("Mish", mish);
constinit const OpDef kSwish = activation("Swish", swish);
constinit const OpDef kShrink = {.name = "Shrink",
                                 .infer = infer_number,
                                 .tie = tie_like_first,
                                 .channels = kLikeFirstChannels,
                                 .other_ops = one_per_output,
                                 .eval = shrink};

}  // namespace pare
