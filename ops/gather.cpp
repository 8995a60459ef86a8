// ONNX Gather. https://onnx.ai/onnx/operators/onnx__Gather.html

#include <algorithm>
#include <cstring>

#include "ir/channel_slots.h"
#include "ops/axes.h"
#include "ops/movement.h"
#include "ops/rewrite.h"

namespace pare {
namespace {

Shape gathered_shape(const Shape& data, const Shape& indices, size_t axis) {
  Shape out(data.begin(), data.begin() + static_cast<ptrdiff_t>(axis));
  out.insert(out.end(), indices.begin(), indices.end());
  out.insert(out.end(), data.begin() + static_cast<ptrdiff_t>(axis) + 1, data.end());
  return out;
}

std::vector<TensorType> infer(const Node& node, Operands in) {
  const size_t axis = axis_attribute(node, 0, in[0].shape().size());
  return {{in[0].type->dtype, gathered_shape(in[0].shape(), in[1].shape(), axis)}};
}

/// Indices with the negative ones counted from the back.
std::vector<int64_t> positive(const Tensor& indices, int64_t extent) {
  std::vector<int64_t> result = to_int64(indices);
  for (int64_t& i : result) {
    if (i < -extent || i >= extent) {
      throw Error(ErrorKind::kInput, "index " + std::to_string(i) + " is outside an extent of " +
                                         std::to_string(extent));
    }
    if (i < 0) i += extent;
  }
  return result;
}

/// Indices that are fixed numbers of the model, null otherwise.
const Tensor* settled_indices(const Graph& graph, const Node& node) {
  const Value& value = graph.value(node.inputs[1]);
  if (value.constant) return value.constant.get();
  return value.dynamic ? nullptr : value.known.get();
}

/// Ties the gathered axis: each picked index lives where it was picked from.
void tie_picked(const Graph& graph, const Node& node, size_t axis, ChannelSlots& slots) {
  const ValueId x = node.inputs[0], indices = node.inputs[1], y = node.outputs[0];
  const Tensor* tensor = settled_indices(graph, node);
  if (!tensor) {
    // Computed indices may be those of classes, and then count among the kept ones: the pass looks.
    if (slots.reducing_classes()) slots.free(dim_of(x, axis));
    return;
  }
  const std::vector<int64_t> picked = positive(*tensor, graph.shape(x)[axis]);
  // A list that is a weight loses the entries of indices that go; others keep all of theirs.
  const bool shrinks = graph.constant(indices) && graph.shape(indices).size() == 1;
  slots.free(dim_of(x, axis));
  for (size_t i = 0; i < picked.size(); ++i) {
    if (shrinks) {
      const auto index = static_cast<int64_t>(i);
      slots.tie_one(dim_of(x, axis), picked[i], dim_of(y, axis), index);
      slots.tie_one(dim_of(indices, 0), index, dim_of(y, axis), index);
    } else {
      slots.fix_one(dim_of(x, axis), picked[i]);
    }
  }
}

/// Where as many indices come as data decides: a class among them may go while classes are reduced.
void free_classes(const Graph& graph, const Node& node, ChannelSlots& slots) {
  const ValueId x = node.inputs[0];
  if (slots.reducing_classes() && graph.type(x).known() && !settled_indices(graph, node))
    slots.free(dim_of(x, axis_attribute(node, 0, graph.shape(x).size())));
  for (ValueId value : {x, node.inputs[1], node.outputs[0]}) slots.fix_rest(value);
}

void tie(const Graph& graph, const Node& node, ChannelSlots& slots) {
  const ValueId x = node.inputs[0], indices = node.inputs[1], y = node.outputs[0];
  if (!graph.type(x).known() || !graph.type(indices).known() || !graph.type(y).known()) {
    free_classes(graph, node, slots);
    return;
  }
  const size_t rank = graph.shape(x).size(), inserted = graph.shape(indices).size();
  const size_t axis = axis_attribute(node, 0, rank);
  for (size_t a = 0; a < rank; ++a) {
    if (a != axis) slots.tie(dim_of(x, a), dim_of(y, a < axis ? a : a + inserted - 1));
  }
  tie_picked(graph, node, axis, slots);
  if (!graph.constant(indices)) {
    // Computed indices (token ids, say) are data: what shrinks them shrinks the output.
    for (size_t a = 0; a < inserted; ++a) slots.fix(dim_of(indices, a));
  }
  for (ValueId value : {x, indices, y}) slots.fix_rest(value);
}

/// Renumbers indices into an axis that shrank.
void resize(Graph& graph, NodeId id, const ShapeChange& change) {
  const Node& node = graph.node(id);
  const size_t axis = axis_attribute(node, 0, change.old_inputs[0].size());
  const int64_t extent = change.old_inputs[0][axis];
  const Tensor* indices = settled_indices(graph, node);
  if (change.new_inputs[0][axis] == extent || !indices) return;
  const std::vector<int64_t>& kept = change.kept_inputs[0][axis];
  std::vector<int64_t> renumbered = positive(*indices, extent);
  for (int64_t& i : renumbered) i = std::ranges::lower_bound(kept, i) - kept.begin();
  repair_integers(graph, id, 1, renumbered);
}

Tensor gather_rows(const Tensor& x, const std::vector<int64_t>& indices, size_t axis, Shape shape) {
  return gather(x, static_cast<int>(axis), indices).reshaped(std::move(shape));
}

std::vector<Tensor> eval(const Node& node, std::span<const Tensor* const> in) {
  const Shape& data = in[0]->shape();
  const size_t axis = axis_attribute(node, 0, data.size());
  const std::vector<int64_t> indices = positive(*in[1], data[axis]);
  return {gather_rows(*in[0], indices, axis, gathered_shape(data, in[1]->shape(), axis))};
}

}  // namespace

extern const OpDef kGather;
constinit const OpDef kGather = {
    .name = "Gather",
    .min_inputs = 2,
    .max_inputs = 2,
    .infer = infer,
    .tie = tie,
    .channels =
        "with constant indices, what is picked goes with where it is picked from; with computed "
        "ones the axis stays; others pass through",
    .ties_unknown = true,
    .resize = resize,
    .eval = eval,
    .native_half = true,
    .quant = Quant::kPassThrough};

}  // namespace pare
