// ONNX DynamicQuantizeLinear: uint8 with the scale and zero point of the data at hand.
// https://onnx.ai/onnx/operators/onnx__DynamicQuantizeLinear.html
//
//   low = min(0, min x)   high = max(0, max x)   scale = (high - low) / 255
//   zero_point = saturate(round(-low / scale))   y = saturate(round(x / scale) + zero_point)
//
// The range spans 0 anyhow, so removing a slice of zeros leaves scale and zero point as they are.

#include <algorithm>

#include "ops/elementwise.h"
#include "ops/quantization.h"
#include "ops/rows.h"

namespace pare {
namespace {

std::vector<TensorType> infer(const Node&, Operands in) {
  require_dtype(
      in[0], [](DType t) { return t == DType::kF32; }, "float");
  return {{DType::kU8, in[0].shape()}, {DType::kF32, {}}, {DType::kU8, {}}};
}

/// Two comparisons and a division for each element.
uint64_t other_ops(const Node& node, Operands in, std::span<const TensorType> outputs) {
  return 3 * one_per_input(node, in, outputs);
}

std::vector<Tensor> eval(const Node& node, std::span<const Tensor* const> in) {
  (void)infer(node, as_operands(in));
  float low = 0, high = 0;
  for (float x : in[0]->data<float>()) low = std::min(low, x), high = std::max(high, x);
  const IntegerRange range = integer_range(DType::kU8);
  const float scale = low == high ? 1.0f : (high - low) / static_cast<float>(range.high);
  const int32_t zero = Quantizer(range, scale, 0)(-low);
  const Quantizer quantizer(range, scale, zero);
  Tensor y = map_elements<float, uint8_t>(
      *in[0], [=](float x) { return static_cast<uint8_t>(quantizer(x)); });
  return {std::move(y), Tensor::scalar(scale), Tensor::scalar(static_cast<uint8_t>(zero))};
}

}  // namespace

constinit const OpDef kDynamicQuantizeLinear = {.name = "DynamicQuantizeLinear",
                                                .infer = infer,
                                                .tie = tie_like_first,
                                                .channels = kLikeFirstChannels,
                                                .other_ops = other_ops,
                                                .eval = eval};

}  // namespace pare
