// ONNX Reshape and Flatten.
// https://onnx.ai/onnx/operators/onnx__Reshape.html, onnx__Flatten.html

#include <algorithm>

#include "ir/channel_slots.h"
#include "ops/axes.h"
#include "ops/factor_axes.h"
#include "ops/rewrite.h"

namespace pare {
namespace {

// -- Reshape
// -----------------------------------------------------------------------------------------

/// 0 in a target copies the input's extent, unless the node says otherwise.
bool copies_zeros(const Node& node) { return node.attribute<int64_t>("allowzero", 0) == 0; }

[[noreturn]] void mismatch(const Shape& in, const Shape& target) {
  throw Error(ErrorKind::kInput, "cannot reshape " + to_string(in) + " to " + to_string(target) +
                                     ", which asks for another number of elements");
}

/// The target with its 0 and -1 entries filled in.
Shape resolve(const Node& node, const Shape& in, const std::vector<int64_t>& target) {
  Shape out = target;
  std::ptrdiff_t open = -1;
  Shape known;
  for (size_t i = 0; i < out.size(); ++i) {
    if (out[i] == 0 && copies_zeros(node)) {
      if (i >= in.size()) mismatch(in, target);
      out[i] = in[i];
    }
    if (out[i] < -1 || (out[i] == -1 && open >= 0)) {
      throw Error(ErrorKind::kInput, "target " + to_string(target) +
                                         " has more than one open extent or a negative one");
    }
    if (out[i] == -1) {
      open = static_cast<std::ptrdiff_t>(i);
    } else {
      known.push_back(out[i]);
    }
  }
  const int64_t total = element_count(in), rest = element_count(known);
  if (open >= 0) {
    if (rest == 0 || total % rest != 0) mismatch(in, target);
    out[static_cast<size_t>(open)] = total / rest;
  } else if (rest != total) {
    mismatch(in, target);
  }
  return out;
}

std::vector<TensorType> infer(const Node& node, Operands in) {
  const IntList target = int_list(node, "shape", in, 1);
  const DType dtype = in[0].type->dtype;
  if (target.known) return {{dtype, resolve(node, in[0].shape(), target.values)}};
  if (!target.given) throw Error(ErrorKind::kInput, "has no target shape");
  if (in[1].shape().size() != 1) return {TensorType::unknown(dtype)};
  return {{dtype, Shape(static_cast<size_t>(in[1].shape()[0]), -1)}};
}

/// True when an entry of the target may be a multiple of a batch that was bound to 1, so that no
/// constant added to it would be right for other batches (see repair_integers).
bool may_hide_batch(const Graph& graph, const Node& node) {
  const Shape &in = graph.shape(node.inputs[0]), &out = graph.shape(node.outputs[0]);
  const bool leads = !in.empty() && in[0] == 1, kept = !out.empty() && out[0] == 1;
  return is_dynamic(graph, node, 1) && leads && !kept;
}

void tie(const Graph& graph, const Node& node, ChannelSlots& slots) {
  const ValueId x = node.inputs[0], y = node.outputs[0];
  if (may_hide_batch(graph, node) && !graph.shape(y).empty()) slots.fix(dim_of(y, 0));
  tie_reshaped(graph, x, y, slots);
  if (node.has_input(1)) slots.fix_rest(node.inputs[1]);
}

/// Keeps 0 and -1 where they still say the right thing.
void resize(Graph& graph, NodeId id, const ShapeChange& change) {
  const Node& node = graph.node(id);
  const IntList target = int_list(graph, node, "shape", 1);
  if (!target.known) return;
  const Shape &in = change.new_inputs[0], &out = change.new_outputs[0];
  std::vector<int64_t> wanted = target.values;
  for (size_t i = 0; i < wanted.size(); ++i) {
    const bool copies = wanted[i] == 0 && copies_zeros(node) && i < in.size() && in[i] == out[i];
    if (wanted[i] != -1 && !copies) wanted[i] = out[i];
  }
  repair_integers(graph, id, "shape", 1, wanted);
}

std::vector<Tensor> eval(const Node& node, std::span<const Tensor* const> in) {
  const IntList target = int_list(node, "shape", in, 1);
  return {in[0]->reshaped(resolve(node, in[0]->shape(), target.values))};
}

/// The attribute became an operand in opset 5.
void upgrade(Graph& graph, NodeId id, int64_t) { attribute_to_operand(graph, id, "shape", 1); }

// -- Flatten
// -----------------------------------------------------------------------------------------

Shape flat_shape(const Node& node, const Shape& in) {
  const auto rank = static_cast<int64_t>(in.size());
  const auto axis = node.attribute<int64_t>("axis", 1);
  const size_t a = axis == rank ? in.size() : normalize_axis(axis, in.size());
  return {extent_product(in, 0, a), extent_product(in, a, in.size())};
}

std::vector<TensorType> infer_flatten(const Node& node, Operands in) {
  return {{in[0].type->dtype, flat_shape(node, in[0].shape())}};
}

void tie_flatten(const Graph& graph, const Node& node, ChannelSlots& slots) {
  tie_reshaped(graph, node.inputs[0], node.outputs[0], slots);
}

std::vector<Tensor> eval_flatten(const Node& node, std::span<const Tensor* const> in) {
  return {in[0]->reshaped(flat_shape(node, in[0]->shape()))};
}

constexpr std::string_view kReshapedChannels =
    "an axis that is split or merged goes in blocks, a channel with all the elements made of it; "
    "of several axes merged into one, one may shrink; of several made into several others, the "
    "innermost";

}  // namespace

extern const OpDef kReshape;
constinit const OpDef kReshape = {.name = "Reshape",
                                  .max_inputs = 2,
                                  .infer = infer,
                                  .tie = tie,
                                  .channels = kReshapedChannels,
                                  .ties_last = true,
                                  .resize = resize,
                                  .eval = eval,
                                  .native_half = true,
                                  .quant = Quant::kPassThrough,
                                  .upgrade = upgrade};

extern const OpDef kFlatten;
constinit const OpDef kFlatten = {.name = "Flatten",
                                  .infer = infer_flatten,
                                  .tie = tie_flatten,
                                  .channels = kReshapedChannels,
                                  .ties_last = true,
                                  .eval = eval_flatten,
                                  .native_half = true,
                                  .quant = Quant::kPassThrough};

}  // namespace pare
