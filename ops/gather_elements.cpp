// ONNX GatherElements and GatherND.
// https://onnx.ai/onnx/operators/onnx__GatherElements.html, onnx__GatherND.html

#include <cstring>

#include "ir/channel_slots.h"
#include "ops/axes.h"
#include "ops/indexed.h"
#include "ops/movement.h"

namespace pare {
namespace {

// -- GatherElements
// ----------------------------------------------------------------------------------

std::vector<TensorType> infer_elements(const Node& node, Operands in) {
  (void)element_axis(node, in[0].shape(), in[1].shape());
  return {{in[0].type->dtype, in[1].shape()}};
}

void tie_elements(const Graph& graph, const Node& node, ChannelSlots& slots) {
  const ValueId x = node.inputs[0], indices = node.inputs[1], y = node.outputs[0];
  const size_t rank = graph.shape(x).size(), axis = axis_attribute(node, 0, rank);
  for (size_t a = 0; a < rank; ++a) {
    slots.tie(dim_of(indices, a), dim_of(y, a));
    if (a != axis && graph.shape(x)[a] == graph.shape(y)[a]) {
      slots.tie(dim_of(x, a), dim_of(y, a));
    } else if (a == axis && slots.reducing_classes() && !graph.constant(indices)) {
      slots.free(dim_of(x, a)), slots.fix(dim_of(y, a));  // The pass looks at the indices.
    } else {
      slots.fix(dim_of(x, a)), slots.fix(dim_of(y, a));
    }
  }
}

std::vector<Tensor> eval_elements(const Node& node, std::span<const Tensor* const> in) {
  const Shape& shape = in[1]->shape();
  const size_t axis = element_axis(node, in[0]->shape(), shape);
  const std::vector<int64_t> sources = element_offsets(in[0]->shape(), *in[1], axis);
  return {move_elements(*in[0], [&](const Tensor& x) {
    Tensor y = Tensor::uninitialized(x.dtype(), shape);
    std::byte* to = y.mutable_bytes().data();
    visit_element_size(element_size(x.dtype()), [&]<size_t N>() {
      for (int64_t source : sources) {
        std::memcpy(to, x.bytes().data() + static_cast<size_t>(source) * N, N);
        to += N;
      }
    });
    return y;
  })};
}

// -- GatherND
// ----------------------------------------------------------------------------------------

/// Leading axes that data and indices share, checked.
size_t batch_axes(const Node& node, const Shape& data, const Shape& indices) {
  const auto batch = node.attribute<int64_t>("batch_dims", 0);
  const auto limit = static_cast<int64_t>(std::min(data.size(), indices.size()));
  bool fits = batch >= 0 && batch < limit;
  for (size_t a = 0; fits && a < static_cast<size_t>(batch); ++a) fits = data[a] == indices[a];
  if (!fits) {
    throw Error(ErrorKind::kInput, "data " + to_string(data) + " and indices " +
                                       to_string(indices) + " do not share " +
                                       std::to_string(batch) + " batch axes");
  }
  return static_cast<size_t>(batch);
}

Shape nd_shape(const Node& node, const Shape& data, const Shape& indices) {
  const size_t batch = batch_axes(node, data, indices);
  const size_t depth = index_depth(indices, data.size() - batch);
  Shape out(indices.begin(), indices.end() - 1);
  out.insert(out.end(), data.begin() + static_cast<ptrdiff_t>(batch + depth), data.end());
  return out;
}

std::vector<TensorType> infer_nd(const Node& node, Operands in) {
  return {{in[0].type->dtype, nd_shape(node, in[0].shape(), in[1].shape())}};
}

/// Only the axes behind the indexed ones go through.
void tie_nd(const Graph& graph, const Node& node, ChannelSlots& slots) {
  const ValueId x = node.inputs[0], y = node.outputs[0];
  if (!graph.type(x).known() || !graph.type(node.inputs[1]).known() || !graph.type(y).known()) {
    // As many tuples as data decides (NonMaxSuppression): a class in them may go, as below.
    const auto batch = static_cast<size_t>(node.attribute<int64_t>("batch_dims", 0));
    const bool opens = slots.reducing_classes() && graph.type(x).known();
    for (size_t a = batch; opens && a < graph.shape(x).size(); ++a) slots.free(dim_of(x, a));
    for (ValueId value : {x, node.inputs[1], y}) slots.fix_rest(value);
    return;
  }
  const Shape &data = graph.shape(x), &indices = graph.shape(node.inputs[1]);
  const size_t batch = batch_axes(node, data, indices);
  const size_t first = batch + index_depth(indices, data.size() - batch);
  const size_t out_rank = graph.shape(y).size();
  for (size_t a = first; a < data.size(); ++a)
    slots.tie(dim_of(x, a), dim_of(y, out_rank - data.size() + a));
  // Computed indices may be those of classes, and then count among the kept ones: the pass looks.
  if (slots.reducing_classes() && !graph.constant(node.inputs[1])) {
    for (size_t a = batch; a < first; ++a) slots.free(dim_of(x, a));
  }
  for (ValueId value : {x, node.inputs[1], y}) slots.fix_rest(value);
}

Tensor gather_nd(const Tensor& x, const Tensor& indices, size_t batch, Shape shape) {
  const Shape &data = x.shape(), &index_shape = indices.shape();
  const size_t depth = index_depth(index_shape, data.size() - batch);
  const std::vector<int64_t> numbers = to_int64(indices);
  const int64_t batches = extent_product(data, 0, batch);
  const int64_t per_batch = extent_product(index_shape, batch, index_shape.size() - 1);
  const int64_t pitch = extent_product(data, batch, data.size());
  const auto row = static_cast<size_t>(extent_product(data, batch + depth, data.size())) *
                   element_size(x.dtype());
  const Shape item(data.begin() + static_cast<ptrdiff_t>(batch), data.end());

  Tensor y = Tensor::uninitialized(x.dtype(), std::move(shape));
  std::byte* to = y.mutable_bytes().data();
  for (int64_t b = 0; b < batches; ++b) {
    for (int64_t i = 0; i < per_batch; ++i) {
      const auto first = static_cast<size_t>(b * per_batch + i) * depth;
      const int64_t offset =
          b * pitch + tuple_offset(item, std::span(numbers).subspan(first, depth));
      if (row > 0) {
        const auto byte = static_cast<size_t>(offset) * element_size(x.dtype());
        std::memcpy(to, x.bytes().data() + byte, row);
        to += row;
      }
    }
  }
  return y;
}

std::vector<Tensor> eval_nd(const Node& node, std::span<const Tensor* const> in) {
  const Shape shape = nd_shape(node, in[0]->shape(), in[1]->shape());
  const size_t batch = batch_axes(node, in[0]->shape(), in[1]->shape());
  return {
      move_elements(*in[0], [&](const Tensor& x) { return gather_nd(x, *in[1], batch, shape); })};
}

}  // namespace

extern const OpDef kGatherElements;
constinit const OpDef kGatherElements = {
    .name = "GatherElements",
    .min_inputs = 2,
    .max_inputs = 2,
    .infer = infer_elements,
    .tie = tie_elements,
    .channels = "the gathered axis stays; others pass through where their extents agree",
    .eval = eval_elements,
    .native_half = true,
    .quant = Quant::kPassThrough};

extern const OpDef kGatherND;
constinit const OpDef kGatherND = {
    .name = "GatherND",
    .min_inputs = 2,
    .max_inputs = 2,
    .infer = infer_nd,
    .tie = tie_nd,
    .channels = "axes behind the indexed ones pass through; the rest stays",
    .ties_unknown = true,
    .eval = eval_nd,
    .native_half = true,
    .quant = Quant::kPassThrough};

}  // namespace pare
