// ONNX Expand and Tile. https://onnx.ai/onnx/operators/onnx__Expand.html, onnx__Tile.html

#include <algorithm>

#include "ir/channel_slots.h"
#include "ops/axes.h"
#include "ops/broadcast.h"
#include "ops/movement.h"
#include "ops/rewrite.h"

namespace pare {
namespace {

void check_extents(const std::vector<int64_t>& extents) {
  if (std::ranges::any_of(extents, [](int64_t e) { return e < 0; }))
    throw Error(ErrorKind::kInput, "target " + to_string(extents) + " has a negative extent");
}

// -- Expand
// ------------------------------------------------------------------------------------------

std::vector<TensorType> infer_expand(const Node& node, Operands in) {
  const IntList target = int_list(node, {}, in, 1);
  const DType dtype = in[0].type->dtype;
  if (target.known) {
    check_extents(target.values);
    return {{dtype, broadcast_shape(in[0].shape(), target.values)}};
  }
  if (in[1].shape().size() != 1) return {TensorType::unknown(dtype)};
  return {
      {dtype, Shape(std::max(in[0].shape().size(), static_cast<size_t>(in[1].shape()[0])), -1)}};
}

/// Where an axis is repeated any repetition may go; the target is repaired, if it is no multiple of
/// a batch.
void tie_expand(const Graph& graph, const Node& node, ChannelSlots& slots) {
  const ValueId x = node.inputs[0], y = node.outputs[0];
  const Shape &in = graph.shape(x), &out = graph.shape(y);
  const size_t added = out.size() - in.size();
  for (size_t a = 0; a < out.size(); ++a) {
    const bool repeated = a < added || in[a - added] != out[a];
    if (repeated && is_dynamic(graph, node, 1)) {
      slots.fix(dim_of(y, a));
    } else if (repeated) {
      slots.free(dim_of(y, a));
    } else {
      slots.tie(dim_of(x, a - added), dim_of(y, a));
    }
  }
  slots.fix_rest(x), slots.fix_rest(node.inputs[1]);
}

void resize_expand(Graph& graph, NodeId id, const ShapeChange& change) {
  const IntList target = int_list(graph, graph.node(id), {}, 1);
  if (!target.known) return;
  const Shape& out = change.new_outputs[0];
  const size_t added = out.size() - target.values.size();
  std::vector<int64_t> wanted = target.values;
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (wanted[i] != 1) wanted[i] = out[added + i];
  }
  repair_integers(graph, id, 1, wanted);
}

std::vector<Tensor> eval_expand(const Node&, std::span<const Tensor* const> in) {
  const std::vector<int64_t> target = to_int64(*in[1]);
  check_extents(target);
  return {broadcast_to(*in[0], broadcast_shape(in[0]->shape(), target))};
}

// -- Tile
// --------------------------------------------------------------------------------------------

void check_repeats(const std::vector<int64_t>& repeats, size_t rank) {
  check_extents(repeats);
  if (repeats.size() != rank) {
    throw Error(ErrorKind::kInput, "repeats " + to_string(repeats) + " are not one for each of " +
                                       std::to_string(rank) + " axes");
  }
}

std::vector<TensorType> infer_tile(const Node& node, Operands in) {
  TensorType type = *in[0].type;
  const IntList repeats = int_list(node, {}, in, 1);
  if (repeats.known) check_repeats(repeats.values, type.shape.size());
  for (size_t a = 0; a < type.shape.size(); ++a) {
    int64_t& extent = type.shape[a];
    if (!repeats.known) {
      extent = -1;
    } else if (__builtin_mul_overflow(extent, repeats.values[a], &extent)) {
      throw Error(ErrorKind::kInput, "axis " + std::to_string(a) + " is repeated too often");
    }
  }
  return {type};
}

void tie_tile(const Graph& graph, const Node& node, ChannelSlots& slots) {
  const ValueId x = node.inputs[0], y = node.outputs[0];
  const Shape &in = graph.shape(x), &out = graph.shape(y);
  for (size_t a = 0; a < in.size(); ++a) {
    if (out[a] > 0) slots.tie_strided(dim_of(x, a), dim_of(y, a), 1);
  }
  for (ValueId value : {x, node.inputs[1], y}) slots.fix_rest(value);
}

std::vector<Tensor> eval_tile(const Node&, std::span<const Tensor* const> in) {
  const Shape& shape = in[0]->shape();
  const std::vector<int64_t> repeats = to_int64(*in[1]);
  check_repeats(repeats, shape.size());
  const std::vector<int64_t> strides = row_strides(shape);
  Shape out, nested;
  std::vector<int64_t> steps;
  for (size_t a = 0; a < shape.size(); ++a) {
    nested.insert(nested.end(), {repeats[a], shape[a]});
    steps.insert(steps.end(), {0, strides[a]});
    out.push_back(extent_product(nested, nested.size() - 2, nested.size()));
  }
  return {move_elements(
      *in[0], [&](const Tensor& x) { return strided_copy(x, 0, nested, steps).reshaped(out); })};
}

}  // namespace

extern const OpDef kExpand;
constinit const OpDef kExpand = {
    .name = "Expand",
    .min_inputs = 2,
    .max_inputs = 2,
    .infer = infer_expand,
    .tie = tie_expand,
    .channels = "an axis that is repeated may lose any repetition; others pass through",
    .resize = resize_expand,
    .eval = eval_expand,
    .native_half = true,
    .quant = Quant::kPassThrough};

extern const OpDef kTile;
constinit const OpDef kTile = {.name = "Tile",
                               .min_inputs = 2,
                               .max_inputs = 2,
                               .infer = infer_tile,
                               .tie = tie_tile,
                               .channels = "an index goes with all its repetitions",
                               .eval = eval_tile,
                               .native_half = true,
                               .quant = Quant::kPassThrough};

}  // namespace pare
