// ONNX Trilu and ReverseSequence.
// https://onnx.ai/onnx/operators/onnx__Trilu.html, onnx__ReverseSequence.html

#include <algorithm>
#include <cstring>

#include "ir/channel_slots.h"
#include "ops/axes.h"
#include "ops/movement.h"

namespace pare {
namespace {

// -- Trilu
// -------------------------------------------------------------------------------------------

std::vector<TensorType> infer_trilu(const Node&, Operands in) {
  if (in[0].shape().size() < 2)
    throw Error(ErrorKind::kInput, "input " + to_string(in[0].shape()) + " is no matrix");
  return {*in[0].type};
}

void tie_trilu(const Graph& graph, const Node& node, ChannelSlots& slots) {
  const ValueId x = node.inputs[0], y = node.outputs[0];
  for (size_t a = 0; a + 2 < graph.shape(x).size(); ++a) slots.tie(dim_of(x, a), dim_of(y, a));
  for (ValueId value : node.inputs) slots.fix_rest(value);
  slots.fix_rest(y);
}

std::vector<Tensor> eval_trilu(const Node& node, std::span<const Tensor* const> in) {
  const Shape& shape = in[0]->shape();
  if (shape.size() < 2)
    throw Error(ErrorKind::kInput, "input " + to_string(shape) + " is no matrix");
  const bool upper = node.attribute<int64_t>("upper", 1) != 0;
  const int64_t rows = shape[shape.size() - 2], columns = shape.back();
  // Far diagonals are all alike; clamped, sums with them cannot overflow.
  const int64_t k =
      operand_or_null(in, 1) ? std::clamp(int_operand(in, 1), -rows - 1, columns + 1) : int64_t{0};
  Tensor y = *in[0];
  const size_t size = element_size(y.dtype());
  std::byte* row = y.mutable_bytes().data();
  const int64_t matrices = extent_product(shape, 0, shape.size() - 2);
  for (int64_t r = 0; r < matrices * rows; ++r, row += static_cast<size_t>(columns) * size) {
    const int64_t diagonal = std::clamp(r % rows + k + (upper ? 0 : 1), int64_t{0}, columns);
    const int64_t first = upper ? 0 : diagonal, last = upper ? diagonal : columns;
    std::memset(row + static_cast<size_t>(first) * size, 0,
                static_cast<size_t>(last - first) * size);
  }
  return {std::move(y)};
}

// -- ReverseSequence
// ---------------------------------------------------------------------------------

struct SequenceAxes {
  size_t batch, time;
};

SequenceAxes sequence_axes(const Node& node, const Shape& shape) {
  const size_t rank = shape.size();
  const SequenceAxes axes = {normalize_axis(node.attribute<int64_t>("batch_axis", 1), rank),
                             normalize_axis(node.attribute<int64_t>("time_axis", 0), rank)};
  if (axes.batch + axes.time != 1)
    throw Error(ErrorKind::kInput, "batch_axis and time_axis must be 0 and 1 or 1 and 0");
  return axes;
}

std::vector<TensorType> infer_reverse(const Node& node, Operands in) {
  (void)sequence_axes(node, in[0].shape());
  return {*in[0].type};
}

void tie_reverse(const Graph& graph, const Node& node, ChannelSlots& slots) {
  const ValueId x = node.inputs[0], y = node.outputs[0];
  for (size_t a = 2; a < graph.shape(x).size(); ++a) slots.tie(dim_of(x, a), dim_of(y, a));
  for (ValueId value : {x, node.inputs[1], y}) slots.fix_rest(value);
}

Tensor reverse(const Tensor& x, std::span<const int64_t> lengths, const SequenceAxes& axes) {
  const Shape& shape = x.shape();
  const std::vector<int64_t> strides = row_strides(shape);
  const auto row =
      static_cast<size_t>(extent_product(shape, 2, shape.size())) * element_size(x.dtype());
  Tensor y = x;
  std::byte* to = y.mutable_bytes().data();
  const auto byte = [&](int64_t batch, int64_t time) {
    return static_cast<size_t>(batch * strides[axes.batch] + time * strides[axes.time]) *
           element_size(x.dtype());
  };
  for (int64_t b = 0; row > 0 && b < shape[axes.batch]; ++b) {
    const int64_t length = lengths[static_cast<size_t>(b)];
    for (int64_t t = 0; t < length; ++t)
      std::memcpy(to + byte(b, t), x.bytes().data() + byte(b, length - 1 - t), row);
  }
  return y;
}

std::vector<Tensor> eval_reverse(const Node& node, std::span<const Tensor* const> in) {
  const SequenceAxes axes = sequence_axes(node, in[0]->shape());
  const std::vector<int64_t> lengths = to_int64(*in[1]);
  const int64_t batch = in[0]->shape()[axes.batch], time = in[0]->shape()[axes.time];
  if (std::ssize(lengths) != batch ||
      std::ranges::any_of(lengths, [&](int64_t n) { return n < 0 || n > time; })) {
    throw Error(ErrorKind::kInput,
                "sequence_lens " + to_string(lengths) + " do not fit " + to_string(in[0]->shape()));
  }
  return {move_elements(*in[0], [&](const Tensor& x) { return reverse(x, lengths, axes); })};
}

}  // namespace

extern const OpDef kTrilu;
constinit const OpDef kTrilu = {.name = "Trilu",
                                .max_inputs = 2,
                                .infer = infer_trilu,
                                .tie = tie_trilu,
                                .channels = "batch axes pass through; those of the matrix stay",
                                .eval = eval_trilu,
                                .native_half = true,
                                .quant = Quant::kPassThrough};

extern const OpDef kReverseSequence;
constinit const OpDef kReverseSequence = {.name = "ReverseSequence",
                                          .min_inputs = 2,
                                          .max_inputs = 2,
                                          .infer = infer_reverse,
                                          .tie = tie_reverse,
                                          .channels = "axes behind the first two pass through",
                                          .eval = eval_reverse,
                                          .native_half = true,
                                          .quant = Quant::kPassThrough};

}  // namespace pare
