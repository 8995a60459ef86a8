// ONNX ScatterElements, its older form Scatter, and ScatterND.
// https://onnx.ai/onnx/operators/onnx__ScatterElements.html, onnx__ScatterND.html

#include <algorithm>
#include <cstring>

#include "ir/channel_slots.h"
#include "ops/axes.h"
#include "ops/indexed.h"
#include "ops/movement.h"

namespace pare {
namespace {

enum class Reduction : uint8_t { kNone, kAdd, kMul, kMin, kMax };

Reduction reduction_of(const Node& node) {
  static constexpr std::pair<std::string_view, Reduction> kNames[] = {{"none", Reduction::kNone},
                                                                      {"add", Reduction::kAdd},
                                                                      {"mul", Reduction::kMul},
                                                                      {"min", Reduction::kMin},
                                                                      {"max", Reduction::kMax}};
  const std::string name = node.attribute("reduction", "none");
  const auto* it = std::ranges::find(kNames, name, &std::pair<std::string_view, Reduction>::first);
  if (it == std::end(kNames))
    throw Error(ErrorKind::kInput, "reduction '" + name + "' is none of none, add, mul, min, max");
  return it->second;
}

/// Integers wrap around.
template <typename T>
using Wide = std::conditional_t<std::is_floating_point_v<T>, T, uint64_t>;

template <typename T>
T add(T a, T b) {
  return static_cast<T>(static_cast<Wide<T>>(a) + static_cast<Wide<T>>(b));
}

template <typename T>
T mul(T a, T b) {
  return static_cast<T>(static_cast<Wide<T>>(a) * static_cast<Wide<T>>(b));
}

template <typename T>
T reduce(Reduction reduction, T a, T b) {
  if constexpr (std::is_same_v<T, Float16> || std::is_same_v<T, BFloat16>) {
    return T(reduce(reduction, static_cast<float>(a), static_cast<float>(b)));
  } else {
    switch (reduction) {
      case Reduction::kNone:
        return b;
      case Reduction::kAdd:
        return add(a, b);
      case Reduction::kMul:
        return mul(a, b);
      case Reduction::kMin:
        return std::min(a, b);
      case Reduction::kMax:
        return std::max(a, b);
    }
    return b;
  }
}

/// Writes row i of `updates`, `row` elements long, at element offsets[i] of `data`.
Tensor scatter_rows(const Tensor& data, const Tensor& updates, std::span<const int64_t> offsets,
                    int64_t row, Reduction reduction) {
  Tensor y = data;
  const auto length = static_cast<size_t>(row);
  if (reduction == Reduction::kNone) {
    const size_t size = element_size(data.dtype());
    std::byte* to = y.mutable_bytes().data();
    const std::byte* from = updates.bytes().data();
    for (size_t i = 0; length > 0 && i < offsets.size(); ++i, from += length * size)
      std::memcpy(to + static_cast<size_t>(offsets[i]) * size, from, length * size);
    return y;
  }
  visit_dtype(data.dtype(), [&]<typename T>() {
    const std::span<T> to = y.mutable_data<T>();
    const T* from = updates.data<T>().data();
    for (int64_t offset : offsets) {
      for (size_t i = 0; i < length; ++i) {
        T& element = to[static_cast<size_t>(offset) + i];
        element = reduce(reduction, element, *from++);
      }
    }
  });
  return y;
}

std::vector<Tensor> scatter(std::span<const Tensor* const> in, std::span<const int64_t> offsets,
                            int64_t row, Reduction reduction) {
  if (in[0]->dtype() != in[2]->dtype())
    throw Error(ErrorKind::kInput, "data and updates must have one element type");
  const Tensor sources[] = {*in[0], *in[2]};
  if (reduction != Reduction::kNone)
    return {scatter_rows(sources[0], sources[1], offsets, row, reduction)};
  return move_elements(sources, [&](std::span<const Tensor> s) {
    return std::vector<Tensor>{scatter_rows(s[0], s[1], offsets, row, reduction)};
  });
}

void check_updates(const Shape& updates, const Shape& expected) {
  if (updates != expected) {
    throw Error(ErrorKind::kInput, "updates are " + to_string(updates) + ", the indices ask for " +
                                       to_string(expected));
  }
}

// -- ScatterElements
// ---------------------------------------------------------------------------------

std::vector<TensorType> infer_elements(const Node& node, Operands in) {
  (void)element_axis(node, in[0].shape(), in[1].shape());
  check_updates(in[2].shape(), in[1].shape());
  return {*in[0].type};
}

void tie_elements(const Graph& graph, const Node& node, ChannelSlots& slots) {
  const ValueId x = node.inputs[0], indices = node.inputs[1], updates = node.inputs[2];
  const ValueId y = node.outputs[0];
  const Shape &data = graph.shape(x), &written = graph.shape(indices);
  const size_t axis = axis_attribute(node, 0, data.size());
  for (size_t a = 0; a < data.size(); ++a) {
    slots.tie(dim_of(x, a), dim_of(y, a));
    slots.tie(dim_of(indices, a), dim_of(updates, a));
    if (a != axis && data[a] == written[a]) {
      slots.tie(dim_of(x, a), dim_of(indices, a));
    } else {
      slots.fix(dim_of(x, a)), slots.fix(dim_of(indices, a));
    }
  }
}

std::vector<Tensor> eval_elements(const Node& node, std::span<const Tensor* const> in) {
  const size_t axis = element_axis(node, in[0]->shape(), in[1]->shape());
  check_updates(in[2]->shape(), in[1]->shape());
  return scatter(in, element_offsets(in[0]->shape(), *in[1], axis), 1, reduction_of(node));
}

/// Scatter was renamed in opset 11.
void upgrade_scatter(Graph& graph, NodeId id, int64_t) { graph.set_op(id, "ScatterElements"); }

// -- ScatterND
// ---------------------------------------------------------------------------------------

Shape updates_shape(const Shape& data, const Shape& indices) {
  const size_t depth = index_depth(indices, data.size());
  Shape shape(indices.begin(), indices.end() - 1);
  shape.insert(shape.end(), data.begin() + static_cast<ptrdiff_t>(depth), data.end());
  return shape;
}

std::vector<TensorType> infer_nd(const Node&, Operands in) {
  check_updates(in[2].shape(), updates_shape(in[0].shape(), in[1].shape()));
  return {*in[0].type};
}

/// Only the axes behind the indexed ones go through.
void tie_nd(const Graph& graph, const Node& node, ChannelSlots& slots) {
  const ValueId x = node.inputs[0], indices = node.inputs[1], updates = node.inputs[2];
  const ValueId y = node.outputs[0];
  const size_t rank = graph.shape(x).size(), depth = index_depth(graph.shape(indices), rank);
  const size_t shift = graph.shape(updates).size() - rank;  // May wrap; only sums are used.
  for (size_t a = depth; a < rank; ++a) {
    slots.tie(dim_of(x, a), dim_of(y, a));
    slots.tie(dim_of(updates, a + shift), dim_of(y, a));
  }
  for (ValueId value : {x, indices, updates, y}) slots.fix_rest(value);
}

std::vector<Tensor> eval_nd(const Node& node, std::span<const Tensor* const> in) {
  const Shape &data = in[0]->shape(), &indices = in[1]->shape();
  check_updates(in[2]->shape(), updates_shape(data, indices));
  const size_t depth = index_depth(indices, data.size());
  const std::vector<int64_t> numbers = to_int64(*in[1]);
  const int64_t count = extent_product(indices, 0, indices.size() - 1);
  std::vector<int64_t> offsets;
  for (int64_t i = 0; i < count; ++i) {
    const size_t first = static_cast<size_t>(i) * depth;
    offsets.push_back(tuple_offset(data, std::span(numbers).subspan(first, depth)));
  }
  return scatter(in, offsets, extent_product(data, depth, data.size()), reduction_of(node));
}

}  // namespace

extern const OpDef kScatter;
constinit const OpDef kScatter = {
    .name = "Scatter",
    .min_inputs = 3,
    .max_inputs = 3,
    .infer = infer_elements,
    .tie = tie_elements,
    .channels = "the axis written along stays; others pass through where their extents agree",
    .eval = eval_elements,
    .upgrade = upgrade_scatter};

extern const OpDef kScatterElements;
constinit const OpDef kScatterElements = {
    .name = "ScatterElements",
    .min_inputs = 3,
    .max_inputs = 3,
    .infer = infer_elements,
    .tie = tie_elements,
    .channels = "the axis written along stays; others pass through where their extents agree",
    .eval = eval_elements};

extern const OpDef kScatterND;
constinit const OpDef kScatterND = {
    .name = "ScatterND",
    .min_inputs = 3,
    .max_inputs = 3,
    .infer = infer_nd,
    .tie = tie_nd,
    .channels = "axes behind the indexed ones pass through; the rest stays",
    .eval = eval_nd};

}  // namespace pare
