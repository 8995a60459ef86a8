// ONNX Transpose. https://onnx.ai/onnx/operators/onnx__Transpose.html

#include <algorithm>
#include <numeric>

#include "ir/channel_slots.h"
#include "ops/axes.h"
#include "ops/movement.h"

namespace pare {
namespace {

/// Output axis i is input axis order[i].
std::vector<size_t> order_of(const Node& node, size_t rank) {
  const auto perm = node.attribute<std::vector<int64_t>>("perm", {});
  std::vector<size_t> order(rank);
  if (!node.has_attribute("perm")) {
    for (size_t i = 0; i < rank; ++i) order[i] = rank - 1 - i;
    return order;
  }
  if (perm.size() != rank) {
    throw Error(ErrorKind::kInput,
                "perm " + to_string(perm) + " does not order " + std::to_string(rank) + " axes");
  }
  return normalize_axes(perm, rank);
}

std::vector<TensorType> infer(const Node& node, Operands in) {
  TensorType type = *in[0].type;
  const std::vector<size_t> order = order_of(node, type.shape.size());
  for (size_t i = 0; i < order.size(); ++i) type.shape[i] = in[0].shape()[order[i]];
  return {type};
}

void tie(const Graph& graph, const Node& node, ChannelSlots& slots) {
  const ValueId x = node.inputs[0], y = node.outputs[0];
  const std::vector<size_t> order = order_of(node, graph.shape(x).size());
  for (size_t i = 0; i < order.size(); ++i) slots.tie(dim_of(x, order[i]), dim_of(y, i));
}

std::vector<Tensor> eval(const Node& node, std::span<const Tensor* const> in) {
  const std::vector<size_t> order = order_of(node, in[0]->shape().size());
  return {move_elements(*in[0], [&](const Tensor& x) { return transposed(x, order); })};
}

}  // namespace

extern const OpDef kTranspose;
constinit const OpDef kTranspose = {.name = "Transpose",
                                    .infer = infer,
                                    .tie = tie,
                                    .channels = "every axis passes through to its new place",
                                    .eval = eval,
                                    .native_half = true,
                                    .quant = Quant::kPassThrough};

}  // namespace pare
