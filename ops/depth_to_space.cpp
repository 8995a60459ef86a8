// ONNX DepthToSpace and SpaceToDepth, [N, C, H, W].
// https://onnx.ai/onnx/operators/onnx__DepthToSpace.html, onnx__SpaceToDepth.html

#include "ir/channel_slots.h"
#include "ops/axes.h"
#include "ops/movement.h"

namespace pare {
namespace {

int64_t block_size(const Node& node, const Shape& shape) {
  const auto block = node.attribute<int64_t>("blocksize", 0);
  if (block <= 0 || block > (int64_t{1} << 20) || shape.size() != 4) {
    throw Error(ErrorKind::kInput, "blocks of " + std::to_string(block) + " do not fit input " +
                                       to_string(shape) + ", which must be [N,C,H,W]");
  }
  return block;
}

[[noreturn]] void indivisible(const Shape& shape, int64_t block) {
  throw Error(ErrorKind::kInput, "input " + to_string(shape) + " does not divide by blocks of " +
                                     std::to_string(block));
}

// -- DepthToSpace
// ------------------------------------------------------------------------------------

/// Channels are [block, block, C'] (DCR) or [C', block, block] (CRD).
bool depth_first(const Node& node) {
  const std::string mode = node.attribute("mode", "DCR");
  if (mode != "DCR" && mode != "CRD")
    throw Error(ErrorKind::kInput, "mode '" + mode + "' is neither DCR nor CRD");
  return mode == "DCR";
}

Shape space_shape(const Node& node, const Shape& in) {
  const int64_t block = block_size(node, in);
  if (in[1] % (block * block) != 0) indivisible(in, block);
  return {in[0], in[1] / (block * block), extent_product({in[2], block}, 0, 2),
          extent_product({in[3], block}, 0, 2)};
}

std::vector<TensorType> infer_space(const Node& node, Operands in) {
  (void)depth_first(node);
  return {{in[0].type->dtype, space_shape(node, in[0].shape())}};
}

void tie_space(const Graph& graph, const Node& node, ChannelSlots& slots) {
  const ValueId x = node.inputs[0], y = node.outputs[0];
  const int64_t block = block_size(node, graph.shape(x));
  if (graph.shape(y)[1] > 0)
    slots.tie_strided(dim_of(y, 1), dim_of(x, 1), depth_first(node) ? 1 : block * block);
  slots.fix_rest(x), slots.fix_rest(y);
}

std::vector<Tensor> eval_space(const Node& node, std::span<const Tensor* const> in) {
  static constexpr size_t kDcr[] = {0, 3, 4, 1, 5, 2}, kCrd[] = {0, 1, 4, 2, 5, 3};
  const Shape& shape = in[0]->shape();
  const Shape out = space_shape(node, shape);
  const int64_t block = block_size(node, shape);
  const bool dcr = depth_first(node);
  const Shape blocked = dcr ? Shape{shape[0], block, block, out[1], shape[2], shape[3]}
                            : Shape{shape[0], out[1], block, block, shape[2], shape[3]};
  return {move_elements(*in[0], [&](const Tensor& x) {
    return transposed(x.reshaped(blocked), dcr ? kDcr : kCrd).reshaped(out);
  })};
}

// -- SpaceToDepth
// ------------------------------------------------------------------------------------

Shape depth_shape(const Node& node, const Shape& in) {
  const int64_t block = block_size(node, in);
  if (in[2] % block != 0 || in[3] % block != 0) indivisible(in, block);
  return {in[0], extent_product({in[1], block, block}, 0, 3), in[2] / block, in[3] / block};
}

std::vector<TensorType> infer_depth(const Node& node, Operands in) {
  (void)depth_first(node);
  return {{in[0].type->dtype, depth_shape(node, in[0].shape())}};
}

void tie_depth(const Graph& graph, const Node& node, ChannelSlots& slots) {
  const ValueId x = node.inputs[0], y = node.outputs[0];
  const int64_t block = block_size(node, graph.shape(x));
  if (graph.shape(x)[1] > 0)
    slots.tie_strided(dim_of(x, 1), dim_of(y, 1), depth_first(node) ? 1 : block * block);
  slots.fix_rest(x), slots.fix_rest(y);
}

std::vector<Tensor> eval_depth(const Node& node, std::span<const Tensor* const> in) {
  static constexpr size_t kDcr[] = {0, 3, 5, 1, 2, 4}, kCrd[] = {0, 1, 3, 5, 2, 4};
  const Shape& shape = in[0]->shape();
  const Shape out = depth_shape(node, shape);
  const int64_t block = block_size(node, shape);
  const bool dcr = depth_first(node);
  return {move_elements(*in[0], [&](const Tensor& x) {
    const Tensor blocked = x.reshaped({shape[0], shape[1], out[2], block, out[3], block});
    return transposed(blocked, dcr ? kDcr : kCrd).reshaped(out);
  })};
}

}  // namespace

extern const OpDef kDepthToSpace;
constinit const OpDef kDepthToSpace = {
    .name = "DepthToSpace",
    .infer = infer_space,
    .tie = tie_space,
    .channels = "an output channel goes with the input channels it is made of",
    .eval = eval_space,
    .native_half = true,
    .quant = Quant::kPassThrough};

extern const OpDef kSpaceToDepth;
constinit const OpDef kSpaceToDepth = {
    .name = "SpaceToDepth",
    .infer = infer_depth,
    .tie = tie_depth,
    .channels = "an input channel goes with the output channels made of it",
    .eval = eval_depth,
    .native_half = true,
    .quant = Quant::kPassThrough};

}  // namespace pare
