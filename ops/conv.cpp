// ONNX Conv, 1-D to 3-D. https://onnx.ai/onnx/operators/onnx__Conv.html
//
//   X [N, C, spatial...]   W [O, C/group, kernel...]   B [O]   ->   Y [N, O, spatial'...]

#include <algorithm>

#include "ir/channel_slots.h"
#include "ir/window.h"
#include "ops/depthwise.h"
#include "ops/elementwise.h"
#include "ops/plain_gemm.h"
#include "ops/rows.h"

namespace pare {
namespace {

struct Geometry {
  Window window;
  int64_t batch, channels_in, channels_out, group;

  int64_t in_per_group() const { return channels_in / group; }
  int64_t out_per_group() const { return channels_out / group; }
};

/// Reads and checks the operands of a Conv.
Geometry geometry(const Node& node, Operands in) {
  const Shape &x = in[0].shape(), &w = in[1].shape();
  const auto group = node.attribute<int64_t>("group", 1);
  require_dtype(in[0], is_float, "floats");
  require_one_dtype(in);
  const Shape kernel = kernel_of_weight(node, w);
  const Window window = sliding_window(node, x, kernel);
  if (group < 1 || w[0] % group != 0)
    throw Error(ErrorKind::kInput, "group=" + std::to_string(group) + " does not divide the " +
                                       std::to_string(w[0]) + " filters of weight " + to_string(w));
  int64_t needed = 0;
  if (__builtin_mul_overflow(w[1], group, &needed) || x[1] != needed)
    throw Error(ErrorKind::kInput,
                "weight " + to_string(w) + " with group=" + std::to_string(group) + " needs " +
                    std::to_string(needed) + " input channels, but the input is " + to_string(x));
  if (in.size() > 2 && in[2] && in[2].shape() != Shape{w[0]})
    throw Error(ErrorKind::kInput, "bias is " + to_string(in[2].shape()) + ", but weight " +
                                       to_string(w) + " makes " + std::to_string(w[0]) +
                                       " channels");
  return {window, x[0], x[1], w[0], group};
}

std::vector<TensorType> infer(const Node& node, Operands in) {
  const Geometry g = geometry(node, in);
  Shape y{g.batch, g.channels_out};
  const Shape spatial = spatial_shape(g.window.output, in[0].shape().size() - 2);
  y.insert(y.end(), spatial.begin(), spatial.end());
  return {{in[0].type->dtype, std::move(y)}};
}

void tie(const Graph& graph, const Node& node, ChannelSlots& slots) {
  const ValueId x = node.inputs[0], w = node.inputs[1], y = node.outputs[0];
  const auto group = node.attribute<int64_t>("group", 1);
  slots.tie({w, 0}, {y, 1});
  if (node.has_input(2)) slots.tie({node.inputs[2], 0}, {y, 1});
  const int64_t channels_in = graph.shape(x)[1], channels_out = graph.shape(y)[1];
  if (group == 1) {
    slots.tie({x, 1}, {w, 1});
  } else if (group == channels_in) {  // Depthwise: a channel is its own group.
    slots.tie_blocks({x, 1}, {y, 1}, channels_out / channels_in);
  } else {  // Every group must keep the same number of channels.
    slots.tie_periodic({x, 1}, channels_in / group);
    slots.tie_periodic({y, 1}, channels_out / group);
    slots.tie_at({w, 1}, {x, 1}, 0);
  }
  for (ValueId operand : {x, w, y}) slots.fix_rest(operand);  // Batch and space.
}

/// A depthwise Conv has as many groups as channels; others keep their groups.
void resize(Graph& graph, NodeId id, const ShapeChange& change) {
  const auto group = graph.node(id).attribute<int64_t>("group", 1);
  if (group > 1 && group == change.old_inputs[0][1])
    graph.set_attribute(id, "group", change.new_inputs[0][1]);
}

/// One multiply-accumulate per output element and weight of its filter, padding included.
uint64_t macs(const Node&, Operands in, std::span<const TensorType> out) {
  const Shape& w = in[1].shape();
  return static_cast<uint64_t>(element_count(out[0].shape) *
                               element_count(Shape(w.begin() + 1, w.end())));
}

/// The bias: one addition per output element.
uint64_t other_ops(const Node& node, Operands in, std::span<const TensorType> out) {
  return in.size() > 2 && in[2] ? one_per_output(node, in, out) : 0;
}

/// y += weights [rows, channels * taps] times the unfolded x, a tile of positions at a time so that
/// the unfolded tile stays in the cache.
template <typename T>
void filter_dense(const Window& w, int64_t channels, int64_t rows, const T* x, const T* weights,
                  T* y, std::vector<T>& columns) {
  constexpr int64_t kTileElements = int64_t{1} << 18, kLeastPositions = 256;
  const int64_t positions = w.positions(), depth = channels * w.taps();
  if (positions == 0 || depth == 0 || rows == 0) return;
  if (w.is_pointwise()) {
    gemm(Transpose::kNo, Transpose::kNo, rows, positions, depth, weights, depth, x, positions, T{1},
         y, positions);
    return;
  }
  const int64_t tile = std::min(positions, std::max(kLeastPositions, kTileElements / depth));
  columns.resize(static_cast<size_t>(depth * tile));
  for (int64_t first = 0; first < positions; first += tile) {
    const int64_t count = std::min(tile, positions - first);
    im2col(w, channels, x, first, count, columns.data(), tile);
    gemm(Transpose::kNo, Transpose::kNo, rows, count, depth, weights, depth, columns.data(), tile,
         T{1}, y + first, positions);
  }
}

/// Every group has one input channel.
template <typename T>
void convolve_depthwise(const Geometry& g, const T* x, const T* weights, T* y) {
  DepthwiseFilter<T> filter(g.window);
  for (int64_t channel = 0; channel < g.batch * g.channels_in; ++channel) {
    filter.load(x + channel * g.window.input_size());
    const int64_t o = channel * g.out_per_group();
    for (int64_t i = o; i < o + g.out_per_group(); ++i)
      filter.add(weights + i % g.channels_out * g.window.taps(), y + i * g.window.positions());
  }
}

template <typename T>
void convolve(const Geometry& g, const Tensor& x, const Tensor& w, const Tensor* bias, Tensor& y) {
  const T *from = x.data<T>().data(), *weights = w.data<T>().data();
  T* to = y.mutable_data<T>().data();
  const int64_t positions = g.window.positions(), filter = g.in_per_group() * g.window.taps();
  for (int64_t o = 0; o < g.batch * g.channels_out; ++o) {
    const auto channel = static_cast<size_t>(o % g.channels_out);
    std::fill_n(to + o * positions, positions, bias ? bias->data<T>()[channel] : T{0});
  }
  if (g.in_per_group() == 1 && g.group > 1 && DepthwiseFilter<T>::fits(g.window)) {
    convolve_depthwise(g, from, weights, to);
    return;
  }
  std::vector<T> columns;
  for (int64_t i = 0; i < g.batch * g.group; ++i) {
    const int64_t group = i % g.group;
    filter_dense(g.window, g.in_per_group(), g.out_per_group(),
                 from + i * g.in_per_group() * g.window.input_size(),
                 weights + group * g.out_per_group() * filter,
                 to + i * g.out_per_group() * positions, columns);
  }
}

std::vector<Tensor> eval(const Node& node, std::span<const Tensor* const> in) {
  const std::vector<Operand> operands = as_operands(in);
  Tensor y = Tensor::uninitialized(in[0]->dtype(), infer(node, operands)[0].shape);
  const Geometry g = geometry(node, operands);
  visit_float(in[0]->dtype(), [&]<typename T>() {
    convolve<T>(g, *in[0], *in[1], in.size() > 2 ? in[2] : nullptr, y);
  });
  return {std::move(y)};
}

}  // namespace

constinit const OpDef kConv = {
    .name = "Conv",
    .min_inputs = 2,
    .max_inputs = 3,
    .infer = infer,
    .tie = tie,
    .channels =
        "an output channel goes with its filter and bias, an input channel with its slice of every "
        "filter; groups lose the same channels each, a depthwise channel its own filter",
    .resize = resize,
    .macs = macs,
    .other_ops = other_ops,
    .eval = eval,
    .quant = Quant::kWeighted,
};

}  // namespace pare
