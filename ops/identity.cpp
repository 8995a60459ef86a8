// Identity, and Dropout, which is one at inference time.
// https://onnx.ai/onnx/operators/onnx__Dropout.html

#include "ir/channel_slots.h"
#include "ops/axes.h"
#include "ops/elementwise.h"
#include "ops/rows.h"

namespace pare {
namespace {

using Tensors = std::span<const Tensor* const>;

constexpr int64_t kMaskIsBool = 10;
constexpr int64_t kRatioIsOperand = 12;

std::vector<Tensor> eval_identity(const Node&, Tensors in) { return {*in[0]}; }

std::vector<TensorType> infer_dropout(const Node& node, Operands in) {
  require_dtype(in[0], is_float, "floats");
  const DType mask = node.opset < kMaskIsBool ? in[0].type->dtype : DType::kBool;
  return {*in[0].type, {mask, in[0].shape()}};
}

void tie_dropout(const Graph& graph, const Node& node, ChannelSlots& slots) {
  const ValueId x = node.inputs[0];
  for (int axis = 0; axis < static_cast<int>(graph.shape(x).size()); ++axis) {
    for (ValueId output : node.outputs) {
      if (output != kNoValue) slots.tie({x, axis}, {output, axis});
    }
  }
  for (size_t i = 1; i < node.inputs.size(); ++i) slots.fix_rest(node.inputs[i]);
}

/// Training drops elements at random, unless the ratio is 0.
void require_inference(Tensors in) {
  const Tensor* ratio = operand_or_null(in, 1);
  const Tensor* training = operand_or_null(in, 2);
  if (!training || to_int64(*training) == std::vector<int64_t>{0}) return;
  if (ratio && ratio->size() == 1 && cast(*ratio, DType::kF64).data<double>()[0] == 0) return;
  throw Error(ErrorKind::kUnsupported, "training_mode is set, but only inference is supported");
}

std::vector<Tensor> eval_dropout(const Node& node, Tensors in) {
  require_inference(in);
  const Tensor& x = *in[0];
  if (!node.has_output(1)) return {x};
  Tensor mask(DType::kBool, x.shape());
  for (bool& kept : mask.mutable_data<bool>()) kept = true;
  return {x, node.opset < kMaskIsBool ? cast(mask, x.dtype()) : mask};
}

/// To opset 12, where the ratio is an operand.
void upgrade_dropout(Graph& graph, NodeId id, int64_t target) {
  const Node& node = graph.node(id);
  if (node.opset >= kRatioIsOperand || target < kRatioIsOperand) return;
  if (node.opset < kMaskIsBool && node.has_output(1) &&
      !graph.value(node.outputs[1]).uses.empty()) {
    throw Error(ErrorKind::kUnsupported,
                "its mask is used as a number, which newer opsets have as bool");
  }
  if (!node.has_attribute("ratio")) return;
  const Tensor ratio = Tensor::scalar(node.attribute("ratio", 0.5f));
  graph.set_input(id, 1, graph.add_constant(node.name + "_ratio", ratio));
  graph.remove_attribute(id, "ratio");
}

}  // namespace

constinit const OpDef kDropout = {.name = "Dropout",
                                  .min_inputs = 1,
                                  .max_inputs = 3,
                                  .infer = infer_dropout,
                                  .tie = tie_dropout,
                                  .channels = kLikeFirstChannels,
                                  .eval = eval_dropout,
                                  .quant = Quant::kPassThrough,
                                  .upgrade = upgrade_dropout};
constinit const OpDef kIdentity = {.name = "Identity",
                                   .infer = infer_like_first,
                                   .tie = tie_like_first,
                                   .channels = kLikeFirstChannels,
                                   .eval = eval_identity,
                                   .native_half = true,
                                   .quant = Quant::kPassThrough};

}  // namespace pare
