// ONNX Split: sizes as an attribute (to opset 12), an operand (13), or a number of outputs (18).
// https://onnx.ai/onnx/operators/onnx__Split.html

#include <algorithm>
#include <numeric>

#include "ir/channel_slots.h"
#include "ops/axes.h"
#include "ops/movement.h"
#include "ops/rewrite.h"

namespace pare {
namespace {

constexpr int64_t kNumOutputsOpset = 18;

/// Extents of the outputs along the axis. `sizes` must be known or not given.
std::vector<int64_t> part_extents(const Node& node, const IntList& sizes, int64_t extent) {
  const auto count = static_cast<int64_t>(node.outputs.size());
  if (sizes.given) {
    int64_t sum = 0;
    bool fits = std::ssize(sizes.values) == count;
    for (int64_t size : sizes.values) {
      fits = fits && size >= 0 && size <= extent - sum;
      sum += fits ? size : 0;
    }
    if (!fits || sum != extent) {
      throw Error(ErrorKind::kInput, "split sizes " + to_string(sizes.values) + " do not divide " +
                                         std::to_string(extent) + " among " +
                                         std::to_string(count) + " outputs");
    }
    return sizes.values;
  }
  if (node.attribute<int64_t>("num_outputs", count) != count) {
    throw Error(ErrorKind::kInput,
                "num_outputs differs from the number of outputs, " + std::to_string(count));
  }
  if (extent % count != 0 && node.opset < kNumOutputsOpset) {
    throw Error(ErrorKind::kInput, "an extent of " + std::to_string(extent) +
                                       " cannot be split into " + std::to_string(count) +
                                       " equal parts");
  }
  const int64_t part = (extent + count - 1) / count;  // The last one may be smaller.
  std::vector<int64_t> parts;
  for (int64_t left = extent; std::ssize(parts) < count; left -= parts.back())
    parts.push_back(std::min(part, left));
  return parts;
}

std::vector<TensorType> infer(const Node& node, Operands in) {
  const IntList sizes = int_list(node, "split", in, 1);
  const size_t axis = axis_attribute(node, 0, in[0].shape().size());
  std::vector<TensorType> types(node.outputs.size(), *in[0].type);
  std::vector<int64_t> parts(types.size(), -1);
  if (!sizes.given || sizes.known) parts = part_extents(node, sizes, in[0].shape()[axis]);
  for (size_t i = 0; i < types.size(); ++i) types[i].shape[axis] = parts[i];
  return types;
}

void tie(const Graph& graph, const Node& node, ChannelSlots& slots) {
  const ValueId x = node.inputs[0];
  const Shape& shape = graph.shape(x);
  const size_t axis = axis_attribute(node, 0, shape.size());
  const std::vector<int64_t> parts =
      part_extents(node, int_list(graph, node, "split", 1), shape[axis]);
  int64_t offset = 0;
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    const ValueId y = node.outputs[i];
    for (size_t a = 0; y != kNoValue && a < shape.size(); ++a) {
      if (a == axis) {
        slots.tie_at(dim_of(y, a), dim_of(x, a), offset);
      } else {
        slots.tie(dim_of(y, a), dim_of(x, a));
      }
    }
    offset += parts[i];
  }
  slots.fix_rest(x);
  if (node.has_input(1)) slots.fix_rest(node.inputs[1]);
}

void resize(Graph& graph, NodeId id, const ShapeChange& change) {
  const Node& node = graph.node(id);
  const size_t axis = axis_attribute(node, 0, change.old_inputs[0].size());
  // An operand is as it was: only its own slots could change it, and they are fixed.
  const IntList sizes = int_list(graph, node, "split", 1);
  const std::vector<int64_t> old_parts = part_extents(node, sizes, change.old_inputs[0][axis]);
  std::vector<int64_t> parts;
  int64_t offset = 0;
  for (int64_t part : old_parts) {
    parts.push_back(std::ranges::count_if(
        change.kept_inputs[0][axis], [&](int64_t i) { return i >= offset && i < offset + part; }));
    offset += part;
  }
  if (sizes.given) return repair_integers(graph, id, "split", 1, parts);
  const bool equal = std::ranges::all_of(parts, [&](int64_t p) { return p == parts[0]; });
  if (equal || parts == old_parts) return;
  if (node.opset < 13) return graph.set_attribute(id, "split", parts);
  graph.remove_attribute(id, "num_outputs");
  const auto count = static_cast<int64_t>(parts.size());
  graph.set_input(id, 1, graph.add_constant(node.name + "_split", Tensor({count}, parts)));
}

std::vector<Tensor> split(const Tensor& x, size_t axis, const std::vector<int64_t>& parts) {
  const std::vector<int64_t> strides = row_strides(x.shape());
  std::vector<Tensor> outputs;
  int64_t offset = 0;
  for (int64_t part : parts) {
    Shape shape = x.shape();
    shape[axis] = part;
    outputs.push_back(strided_copy(x, offset * strides[axis], shape, strides));
    offset += part;
  }
  return outputs;
}

std::vector<Tensor> eval(const Node& node, std::span<const Tensor* const> in) {
  const Tensor& x = *in[0];
  const size_t axis = axis_attribute(node, 0, x.shape().size());
  const std::vector<int64_t> parts =
      part_extents(node, int_list(node, "split", in, 1), x.shape()[axis]);
  return move_elements(std::span(&x, 1),
                       [&](std::span<const Tensor> s) { return split(s[0], axis, parts); });
}

void upgrade(Graph& graph, NodeId id, int64_t target) {
  attribute_to_operand(graph, id, "split", 1);
  const Node& node = graph.node(id);
  if (target >= kNumOutputsOpset && !node.has_input(1) && !node.has_attribute("num_outputs"))
    graph.set_attribute(id, "num_outputs", static_cast<int64_t>(node.outputs.size()));
}

}  // namespace

extern const OpDef kSplit;
constinit const OpDef kSplit = {
    .name = "Split",
    .max_inputs = 2,
    .infer = infer,
    .tie = tie,
    .channels = "a part's channels are a range of the input's; other axes go together in all parts",
    .resize = resize,
    .eval = eval,
    .native_half = true,
    .quant = Quant::kPassThrough,
    .upgrade = upgrade};

}  // namespace pare
