// ONNX ConvTranspose, 1-D to 3-D. https://onnx.ai/onnx/operators/onnx__ConvTranspose.html
//
//   X [N, C, spatial...]   W [C, O/group, kernel...]   B [O]   ->   Y [N, O, spatial'...]
//
// It is the gradient of a Conv by its input, and is computed as one: W^T times X gives the unfolded
// columns, and col2im adds them up.

#include <algorithm>

#include "ir/channel_slots.h"
#include "ir/window.h"
#include "ops/elementwise.h"
#include "ops/plain_gemm.h"
#include "ops/rows.h"

namespace pare {
namespace {

struct Geometry {
  Window window;  ///< Of the Conv this is the gradient of: its input is Y, its output X.
  int64_t batch, channels_in, channels_out, group;

  int64_t in_per_group() const { return channels_in / group; }
  int64_t out_per_group() const { return channels_out / group; }
};

Geometry geometry(const Node& node, Operands in) {
  const Shape &x = in[0].shape(), &w = in[1].shape();
  const auto group = node.attribute<int64_t>("group", 1);
  require_dtype(in[0], is_float, "floats");
  require_one_dtype(in);
  const Window window = transposed_window(node, x, kernel_of_weight(node, w));
  if (group < 1 || w[0] % group != 0)
    throw Error(ErrorKind::kInput, "group=" + std::to_string(group) + " does not divide the " +
                                       std::to_string(w[0]) + " input channels of weight " +
                                       to_string(w));
  if (x[1] != w[0])
    throw Error(ErrorKind::kInput, "weight " + to_string(w) + " needs " + std::to_string(w[0]) +
                                       " input channels, but the input is " + to_string(x));
  int64_t channels_out = 0;
  if (__builtin_mul_overflow(w[1], group, &channels_out))
    throw Error(ErrorKind::kInput, "weight " + to_string(w) + " with group=" +
                                       std::to_string(group) + " makes too many channels");
  if (in.size() > 2 && in[2] && in[2].shape() != Shape{channels_out})
    throw Error(ErrorKind::kInput, "bias is " + to_string(in[2].shape()) + ", but weight " +
                                       to_string(w) + " with group=" + std::to_string(group) +
                                       " makes " + std::to_string(channels_out) + " channels");
  return {window, x[0], x[1], channels_out, group};
}

std::vector<TensorType> infer(const Node& node, Operands in) {
  const Geometry g = geometry(node, in);
  Shape y{g.batch, g.channels_out};
  const Shape spatial = spatial_shape(g.window.input, in[0].shape().size() - 2);
  y.insert(y.end(), spatial.begin(), spatial.end());
  return {{in[0].type->dtype, std::move(y)}};
}

void tie(const Graph& graph, const Node& node, ChannelSlots& slots) {
  const ValueId x = node.inputs[0], w = node.inputs[1], y = node.outputs[0];
  const auto group = node.attribute<int64_t>("group", 1);
  slots.tie({x, 1}, {w, 0});
  if (node.has_input(2)) slots.tie({node.inputs[2], 0}, {y, 1});
  const int64_t channels_in = graph.shape(x)[1], channels_out = graph.shape(y)[1];
  if (group == 1) {
    slots.tie({w, 1}, {y, 1});
  } else if (group == channels_in) {  // Depthwise; axis 1 of the weight is within a channel.
    slots.tie_blocks({x, 1}, {y, 1}, channels_out / channels_in);
  } else {  // Every group must keep the same number of channels.
    slots.tie_periodic({x, 1}, channels_in / group);
    slots.tie_periodic({y, 1}, channels_out / group);
    slots.tie_at({w, 1}, {y, 1}, 0);
  }
  for (ValueId operand : {x, w, y}) slots.fix_rest(operand);  // Batch and space.
}

/// A depthwise ConvTranspose has as many groups as channels; others keep their groups.
void resize(Graph& graph, NodeId id, const ShapeChange& change) {
  const auto group = graph.node(id).attribute<int64_t>("group", 1);
  if (group > 1 && group == change.old_inputs[0][1])
    graph.set_attribute(id, "group", change.new_inputs[0][1]);
}

/// One multiply-accumulate per input element and weight it meets, results that padding cuts off
/// included.
uint64_t macs(const Node&, Operands in, std::span<const TensorType>) {
  const Shape& w = in[1].shape();
  return static_cast<uint64_t>(element_count(in[0].shape()) *
                               element_count(Shape(w.begin() + 1, w.end())));
}

/// The bias: one addition per output element.
uint64_t other_ops(const Node& node, Operands in, std::span<const TensorType> out) {
  return in.size() > 2 && in[2] ? one_per_output(node, in, out) : 0;
}

template <typename T>
void convolve(const Geometry& g, const Tensor& x, const Tensor& w, const Tensor* bias, Tensor& y) {
  constexpr int64_t kTileElements = int64_t{1} << 18, kLeastPositions = 256;
  const T *from = x.data<T>().data(), *weights = w.data<T>().data();
  T* to = y.mutable_data<T>().data();
  const int64_t positions = g.window.positions(), plane = g.window.input_size();
  const int64_t rows = g.out_per_group() * g.window.taps(), depth = g.in_per_group();
  for (int64_t o = 0; o < g.batch * g.channels_out; ++o) {
    const auto channel = static_cast<size_t>(o % g.channels_out);
    std::fill_n(to + o * plane, plane, bias ? bias->data<T>()[channel] : T{0});
  }
  if (positions == 0 || rows == 0 || depth == 0) return;
  const int64_t tile = std::min(positions, std::max(kLeastPositions, kTileElements / rows));
  std::vector<T> columns(static_cast<size_t>(rows * tile));
  for (int64_t n = 0; n < g.batch; ++n) {
    for (int64_t group = 0; group < g.group; ++group) {
      const T* image = from + (n * g.channels_in + group * depth) * positions;
      T* result = to + (n * g.channels_out + group * g.out_per_group()) * plane;
      for (int64_t first = 0; first < positions; first += tile) {
        const int64_t count = std::min(tile, positions - first);
        gemm(Transpose::kYes, Transpose::kNo, rows, count, depth, weights + group * depth * rows,
             rows, image + first, positions, T{0}, columns.data(), tile);
        col2im(g.window, g.out_per_group(), columns.data(), tile, first, count, result);
      }
    }
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

constinit const OpDef kConvTranspose = {
    .name = "ConvTranspose",
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
