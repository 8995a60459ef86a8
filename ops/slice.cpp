// ONNX Slice: bounds as attributes (to opset 9) or operands.
// https://onnx.ai/onnx/operators/onnx__Slice.html

#include <algorithm>
#include <limits>
#include <numeric>

#include "ir/channel_slots.h"
#include "ops/axes.h"
#include "ops/movement.h"
#include "ops/rewrite.h"

namespace pare {
namespace {

/// What a node takes from one axis: `count` indices from `start` on, `step` apart.
struct Range {
  int64_t start = 0;
  int64_t step = 1;
  int64_t count = 0;
  bool known = true;  ///< False while inferring from bounds that are computed.

  bool whole(int64_t extent) const { return known && start == 0 && step == 1 && count == extent; }
};

/// The node's lists, whatever its form.
struct Bounds {
  IntList starts, ends, axes, steps;
};

template <typename In>
Bounds read_bounds(const Node& node, const In& in) {
  Bounds bounds = {int_list(node, "starts", in, 1), int_list(node, "ends", in, 2),
                   int_list(node, "axes", in, 3), int_list(node, "steps", in, 4)};
  if (!bounds.starts.given || !bounds.ends.given)
    throw Error(ErrorKind::kInput, "starts and ends must be given");
  return bounds;
}

Bounds read_bounds(const Graph& graph, const Node& node) {
  const std::vector<Operand> operands = graph.operands(node);
  return read_bounds(node, Operands(operands));
}

/// Bounds as ONNX clamps them: negative ones count from the back.
Range clamp_range(int64_t start, int64_t end, int64_t step, int64_t extent) {
  if (step == 0) throw Error(ErrorKind::kInput, "a step of 0 goes nowhere");
  step = std::max(step, -std::numeric_limits<int64_t>::max());
  if (start < 0) start += extent;
  if (end < 0) end += extent;
  const int64_t low = step > 0 ? 0 : -1, high = step > 0 ? extent : extent - 1;
  start = std::min(std::max(start, int64_t{0}), high);
  end = std::min(std::max(end, low), high);
  Range range = {.start = start, .step = step};
  if (step > 0 && end > start) range.count = (end - start - 1) / step + 1;
  if (step < 0 && start > end) range.count = (start - end - 1) / -step + 1;
  if (range.count == 0) range.start = 0;
  return range;
}

/// The axes that the i-th start, end and step are about. Empty when they are not known.
std::vector<size_t> sliced_axes(const Bounds& bounds, size_t rank) {
  std::vector<int64_t> axes = bounds.axes.values;
  if (!bounds.axes.given && bounds.starts.known) {
    axes.resize(bounds.starts.values.size());
    std::iota(axes.begin(), axes.end(), 0);
  }
  return normalize_axes(axes, rank);
}

/// By axis. All unknown when it is not known which axes are sliced.
std::vector<Range> ranges_of(const Bounds& bounds, const Shape& shape) {
  std::vector<Range> ranges(shape.size());
  const bool which = bounds.axes.given ? bounds.axes.known : bounds.starts.known;
  for (size_t a = 0; a < shape.size(); ++a) ranges[a] = {.count = shape[a], .known = which};
  const std::vector<size_t> axes = sliced_axes(bounds, shape.size());
  for (const IntList* list : {&bounds.starts, &bounds.ends, &bounds.steps}) {
    if (which && list->known && list->values.size() != axes.size())
      throw Error(ErrorKind::kInput, "starts, ends, axes and steps differ in length");
  }
  const bool known =
      bounds.starts.known && bounds.ends.known && (!bounds.steps.given || bounds.steps.known);
  for (size_t i = 0; which && i < axes.size(); ++i) {
    const size_t a = axes[i];
    if (known) {
      const int64_t step = bounds.steps.given ? bounds.steps.values[i] : 1;
      ranges[a] = clamp_range(bounds.starts.values[i], bounds.ends.values[i], step, shape[a]);
    } else {
      ranges[a].known = false;
    }
  }
  return ranges;
}

std::vector<TensorType> infer(const Node& node, Operands in) {
  TensorType type = *in[0].type;
  const std::vector<Range> ranges = ranges_of(read_bounds(node, in), in[0].shape());
  for (size_t a = 0; a < ranges.size(); ++a) type.shape[a] = ranges[a].known ? ranges[a].count : -1;
  return {type};
}

/// Contiguous ranges, forwards or backwards, stay ranges whatever is removed; strided ones do not.
void tie(const Graph& graph, const Node& node, ChannelSlots& slots) {
  const ValueId x = node.inputs[0], y = node.outputs[0];
  const Shape& shape = graph.shape(x);
  const std::vector<Range> ranges = ranges_of(read_bounds(graph, node), shape);
  for (size_t a = 0; a < shape.size(); ++a) {
    const Range& range = ranges[a];
    const Dim from = dim_of(x, a), to = dim_of(y, a);
    if (range.whole(shape[a])) {
      slots.tie(from, to);
    } else if (range.known && range.count > 0 && range.step == 1) {
      slots.tie_at(to, from, range.start);
    } else if (range.known && range.step == -1) {
      slots.free(from), slots.free(to);
      for (int64_t i = 0; i < range.count; ++i) slots.tie_one(from, range.start - i, to, i);
    } else {
      slots.fix(from), slots.fix(to);
    }
  }
  for (size_t i = 1; i < node.inputs.size(); ++i) slots.fix_rest(node.inputs[i]);
}

/// `range`, which has a step of 1 or -1, in an axis of which the indices `kept` stay.
Range shrink(const Range& range, const std::vector<int64_t>& kept) {
  const auto below = [&](int64_t index) {
    return std::ranges::lower_bound(kept, index) - kept.begin();
  };
  if (range.step == 1) {
    const int64_t start = below(range.start);
    return {.start = start, .count = below(range.start + range.count) - start};
  }
  const int64_t start = below(range.start + 1) - 1;
  return {.start = start, .step = -1, .count = start - below(range.start - range.count + 1) + 1};
}

bool same(const Range& a, const Range& b) {
  return a.count == b.count && (a.count == 0 || (a.start == b.start && a.step == b.step));
}

void resize(Graph& graph, NodeId id, const ShapeChange& change) {
  Bounds bounds = read_bounds(graph, graph.node(id));
  if (!bounds.starts.known || !bounds.ends.known || (bounds.steps.given && !bounds.steps.known))
    return;  // Then tie() fixed the axes they may be about.
  const Shape& old_shape = change.old_inputs[0];
  // The bounds may have changed already where they are computed from a shrunk extent.
  const std::vector<Range> old_ranges =
      ranges_of(read_bounds(graph.node(id), change.old_operands), old_shape);
  const std::vector<size_t> axes = sliced_axes(bounds, old_shape.size());
  for (size_t i = 0; i < axes.size(); ++i) {
    const int64_t extent = change.new_inputs[0][axes[i]];
    int64_t &start = bounds.starts.values[i], &end = bounds.ends.values[i];
    const int64_t step = bounds.steps.given ? bounds.steps.values[i] : 1;
    const Range& old_range = old_ranges[axes[i]];
    const Range wanted = extent == old_shape[axes[i]]
                             ? old_range
                             : shrink(old_range, change.kept_inputs[0][axes[i]]);
    if (same(clamp_range(start, end, step, extent), wanted)) continue;
    start = wanted.start;
    end = wanted.start + step * wanted.count;
    if (end < 0) end = -extent - 1;  // Backwards, index 0 included.
  }
  repair_integers(graph, id, "starts", 1, bounds.starts.values);
  repair_integers(graph, id, "ends", 2, bounds.ends.values);
}

std::vector<Tensor> eval(const Node& node, std::span<const Tensor* const> in) {
  const std::vector<Range> ranges = ranges_of(read_bounds(node, in), in[0]->shape());
  std::vector<int64_t> strides = row_strides(in[0]->shape());
  Shape shape;
  int64_t offset = 0;
  for (size_t a = 0; a < ranges.size(); ++a) {
    shape.push_back(ranges[a].count);
    offset += ranges[a].start * strides[a];
    // A step may be larger than the tensor; it is then never taken.
    strides[a] = ranges[a].count > 1 ? strides[a] * ranges[a].step : 0;
  }
  return {move_elements(*in[0],
                        [&](const Tensor& x) { return strided_copy(x, offset, shape, strides); })};
}

void upgrade(Graph& graph, NodeId id, int64_t) {
  attribute_to_operand(graph, id, "starts", 1);
  attribute_to_operand(graph, id, "ends", 2);
  attribute_to_operand(graph, id, "axes", 3);
}

}  // namespace

extern const OpDef kSlice;
constinit const OpDef kSlice = {
    .name = "Slice",
    .max_inputs = 5,
    .infer = infer,
    .tie = tie,
    .channels = "contiguous ranges pass through; an axis taken in steps stays",
    .resize = resize,
    .eval = eval,
    .native_half = true,
    .quant = Quant::kPassThrough,
    .upgrade = upgrade};

}  // namespace pare
