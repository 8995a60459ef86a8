// ONNX PRelu: y = x < 0 ? slope * x : x, with a slope that broadcasts to X's shape.
// https://onnx.ai/onnx/operators/onnx__PRelu.html

#include "ops/elementwise.h"
#include "ops/rows.h"

namespace pare {
namespace {

std::vector<TensorType> infer(const Node& node, Operands in) {
  require_one_dtype(in);
  require_dtype(
      in[0], [](DType t) { return is_float(t) || is_integer(t); }, "numbers");
  (void)broadcast_strides(in[1].shape(), in[0].shape());
  return infer_like_first(node, in);
}

std::vector<Tensor> eval(const Node& node, std::span<const Tensor* const> in) {
  const TensorType type = infer(node, as_operands(in))[0];
  Tensor y = Tensor::uninitialized(type.dtype, type.shape);
  visit_number(type.dtype, [&]<typename T>() {
    broadcast_apply<T, T, T>(*in[0], *in[1], y,
                             [](T x, T slope) { return x < T{0} ? static_cast<T>(x * slope) : x; });
  });
  return {std::move(y)};
}

}  // namespace

constinit const OpDef kPRelu = {.name = "PRelu",
                                .min_inputs = 2,
                                .max_inputs = 2,
                                .infer = infer,
                                .tie = tie_broadcast,
                                .channels = kBroadcastChannels,
                                .other_ops = one_per_output,
                                .eval = eval};

}  // namespace pare
