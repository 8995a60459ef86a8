// ONNX Squeeze and Unsqueeze: axes as an attribute (to opset 12) or an operand.
// https://onnx.ai/onnx/operators/onnx__Squeeze.html, onnx__Unsqueeze.html

#include <algorithm>

#include "ir/channel_slots.h"
#include "ops/axes.h"
#include "ops/factor_axes.h"
#include "ops/rewrite.h"

namespace pare {
namespace {

void tie(const Graph& graph, const Node& node, ChannelSlots& slots) {
  tie_reshaped(graph, node.inputs[0], node.outputs[0], slots);
  if (node.has_input(1)) slots.fix_rest(node.inputs[1]);
}

void upgrade(Graph& graph, NodeId id, int64_t) { attribute_to_operand(graph, id, "axes", 1); }

// -- Squeeze
// -----------------------------------------------------------------------------------------

Shape squeezed(const Shape& in, const IntList& axes) {
  const std::vector<size_t> named = normalize_axes(axes.values, in.size());
  Shape out;
  for (size_t a = 0; a < in.size(); ++a) {
    const bool drop = axes.given ? std::ranges::find(named, a) != named.end() : in[a] == 1;
    if (drop && in[a] != 1) {
      throw Error(ErrorKind::kInput, "axis " + std::to_string(a) + " of " + to_string(in) +
                                         " is squeezed, but its extent is not 1");
    }
    if (!drop) out.push_back(in[a]);
  }
  return out;
}

std::vector<TensorType> infer_squeeze(const Node& node, Operands in) {
  const IntList axes = int_list(node, "axes", in, 1);
  if (axes.given && !axes.known) return {TensorType::unknown(in[0].type->dtype)};
  return {{in[0].type->dtype, squeezed(in[0].shape(), axes)}};
}

std::vector<Tensor> eval_squeeze(const Node& node, std::span<const Tensor* const> in) {
  return {in[0]->reshaped(squeezed(in[0]->shape(), int_list(node, "axes", in, 1)))};
}

// -- Unsqueeze
// ---------------------------------------------------------------------------------------

Shape unsqueezed(const Shape& in, const IntList& axes) {
  if (!axes.given) throw Error(ErrorKind::kInput, "has no axes");
  const size_t rank = in.size() + axes.values.size();
  const std::vector<size_t> named = normalize_axes(axes.values, rank);
  Shape out;
  auto next = in.begin();
  for (size_t a = 0; a < rank; ++a)
    out.push_back(std::ranges::find(named, a) != named.end() ? 1 : *next++);
  return out;
}

std::vector<TensorType> infer_unsqueeze(const Node& node, Operands in) {
  const IntList axes = int_list(node, "axes", in, 1);
  if (axes.given && !axes.known) return {TensorType::unknown(in[0].type->dtype)};
  return {{in[0].type->dtype, unsqueezed(in[0].shape(), axes)}};
}

std::vector<Tensor> eval_unsqueeze(const Node& node, std::span<const Tensor* const> in) {
  return {in[0]->reshaped(unsqueezed(in[0]->shape(), int_list(node, "axes", in, 1)))};
}

}  // namespace

extern const OpDef kSqueeze;
constinit const OpDef kSqueeze = {.name = "Squeeze",
                                  .max_inputs = 2,
                                  .infer = infer_squeeze,
                                  .tie = tie,
                                  .channels = "every index passes through",
                                  .eval = eval_squeeze,
                                  .native_half = true,
                                  .quant = Quant::kPassThrough,
                                  .upgrade = upgrade};

extern const OpDef kUnsqueeze;
constinit const OpDef kUnsqueeze = {.name = "Unsqueeze",
                                    .max_inputs = 2,
                                    .infer = infer_unsqueeze,
                                    .tie = tie,
                                    .channels = "every index passes through",
                                    .eval = eval_unsqueeze,
                                    .native_half = true,
                                    .quant = Quant::kPassThrough,
                                    .upgrade = upgrade};

}  // namespace pare
