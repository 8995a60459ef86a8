// ONNX Shape and Size. https://onnx.ai/onnx/operators/onnx__Shape.html, onnx__Size.html

#include <algorithm>
#include <numeric>

#include "ir/channel_slots.h"
#include "ops/axes.h"
#include "ops/extent_readers.h"

namespace pare {
namespace {

/// Axes [first, last) that Shape lists: `start` and `end` came in opset 15 and clamp.
std::pair<size_t, size_t> listed_axes(const Node& node, size_t rank) {
  const auto r = static_cast<int64_t>(rank);
  const auto clamp = [&](int64_t axis) {
    return std::clamp(axis < 0 ? axis + r : axis, int64_t{0}, r);
  };
  const int64_t first = clamp(node.attribute<int64_t>("start", 0));
  const int64_t last = clamp(node.attribute<int64_t>("end", r));
  return {static_cast<size_t>(first), static_cast<size_t>(std::max(first, last))};
}

void tie_read(const Graph& graph, const Node& node, const std::vector<std::vector<size_t>>& axes,
              ChannelSlots& slots) {
  const ValueId x = node.inputs[0];
  const size_t rank = graph.shape(x).size();
  const std::vector<bool> frozen = frozen_extents(graph, node, axes, rank);
  for (size_t a = 0; a < rank; ++a) {
    if (frozen[a]) {
      slots.fix(dim_of(x, a));
    } else {
      slots.free(dim_of(x, a));
    }
  }
  slots.fix_rest(node.outputs[0]);
}

// -- Shape
// -------------------------------------------------------------------------------------------

std::vector<TensorType> infer_shape(const Node& node, Operands in) {
  if (!in[0].type->ranked) return {{DType::kI64, {-1}}};
  const auto [first, last] = listed_axes(node, in[0].shape().size());
  return {{DType::kI64, {static_cast<int64_t>(last - first)}}};
}

void tie_shape(const Graph& graph, const Node& node, ChannelSlots& slots) {
  const auto [first, last] = listed_axes(node, graph.shape(node.inputs[0]).size());
  std::vector<std::vector<size_t>> axes;
  for (size_t a = first; a < last; ++a) axes.push_back({a});
  tie_read(graph, node, axes, slots);
}

std::vector<Tensor> eval_shape(const Node& node, std::span<const Tensor* const> in) {
  const Shape& shape = in[0]->shape();
  const auto [first, last] = listed_axes(node, shape.size());
  const std::vector<int64_t> extents(shape.begin() + static_cast<ptrdiff_t>(first),
                                     shape.begin() + static_cast<ptrdiff_t>(last));
  return {Tensor({static_cast<int64_t>(extents.size())}, extents)};
}

// -- Size
// --------------------------------------------------------------------------------------------

std::vector<TensorType> infer_size(const Node&, Operands) { return {{DType::kI64, {}}}; }

void tie_size(const Graph& graph, const Node& node, ChannelSlots& slots) {
  std::vector<size_t> all(graph.shape(node.inputs[0]).size());
  std::iota(all.begin(), all.end(), size_t{0});
  tie_read(graph, node, {all}, slots);
}

std::vector<Tensor> eval_size(const Node&, std::span<const Tensor* const> in) {
  return {Tensor::scalar(in[0]->size())};
}

constexpr std::string_view kExtentChannels =
    "an extent it reads stays where a constant computed from it could not be repaired";

}  // namespace

extern const OpDef kShape;
constinit const OpDef kShape = {.name = "Shape",
                                .infer = infer_shape,
                                .infers_unknown = true,
                                .tie = tie_shape,
                                .channels = kExtentChannels,
                                .eval = eval_shape,
                                .native_half = true,
                                .reads_only_types = true};

extern const OpDef kSize;
constinit const OpDef kSize = {.name = "Size",
                               .infer = infer_size,
                               .infers_unknown = true,
                               .tie = tie_size,
                               .channels = kExtentChannels,
                               .eval = eval_size,
                               .native_half = true,
                               .reads_only_types = true};

}  // namespace pare
