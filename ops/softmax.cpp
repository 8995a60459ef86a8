// ONNX Softmax, LogSoftmax, Hardmax. https://onnx.ai/onnx/operators/onnx__Softmax.html
//
// Before opset 13 the operand is flattened to two dimensions at `axis` (1 where it is left out) and
// each row is one distribution; since then the distribution runs along `axis` (-1) alone.

#include <cmath>
#include <limits>

#include "ir/channel_slots.h"
#include "ops/axes.h"
#include "ops/elementwise.h"
#include "ops/rows.h"
#include "ops/vector_math.h"

namespace pare {
namespace {

using Tensors = std::span<const Tensor* const>;

constexpr int64_t kAlongOneAxis = 13;

/// Elements of a distribution, and how many are around it.
struct Rows {
  int64_t outer, count, inner;
};

/// The axes one distribution runs over: [first, last).
std::pair<size_t, size_t> distribution(const Node& node, size_t rank) {
  if (node.opset >= kAlongOneAxis) {
    const size_t axis = axis_attribute(node, -1, rank);
    return {axis, axis + 1};
  }
  const int64_t axis = node.attribute<int64_t>("axis", 1);
  // An axis behind the last makes distributions of one element.
  if (axis == static_cast<int64_t>(rank)) return {rank, rank};
  return {normalize_axis(axis, rank), rank};
}

std::vector<TensorType> infer(const Node& node, Operands in) {
  require_dtype(in[0], is_float, "floats");
  (void)distribution(node, in[0].shape().size());
  return infer_like_first(node, in);
}

/// A distribution's axes are fixed, for its elements share one sum; a class reduction means the
/// kept ones to share theirs.
void tie(const Graph& graph, const Node& node, ChannelSlots& slots) {
  const ValueId x = node.inputs[0], y = node.outputs[0];
  const size_t rank = graph.shape(x).size();
  const auto [first, last] = distribution(node, rank);
  for (size_t axis = 0; axis < rank; ++axis) {
    if (axis < first || axis >= last || slots.reducing_classes())
      slots.tie(dim_of(x, axis), dim_of(y, axis));
  }
  slots.fix_rest(x), slots.fix_rest(y);
}

/// Subtraction, exponential, sum, division.
uint64_t other_ops(const Node& node, Operands in, std::span<const TensorType> outputs) {
  return 4 * one_per_output(node, in, outputs);
}

/// Softmax of `count` neighbouring elements.
template <typename T>
void softmax_row(const T* x, T* y, int64_t count) {
  T largest = x[0];
  for (int64_t i = 1; i < count; ++i) largest = std::max(largest, x[i]);
  for (int64_t i = 0; i < count; ++i) y[i] = fast_exp(x[i] - largest);
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += static_cast<double>(y[i]);
  const T scale = static_cast<T>(1 / sum);
  for (int64_t i = 0; i < count; ++i) y[i] *= scale;
}

template <typename T>
void log_softmax_row(const T* x, T* y, int64_t count) {
  T largest = x[0];
  for (int64_t i = 1; i < count; ++i) largest = std::max(largest, x[i]);
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += std::exp(static_cast<double>(x[i] - largest));
  const T log_sum = static_cast<T>(std::log(sum));
  for (int64_t i = 0; i < count; ++i) y[i] = x[i] - largest - log_sum;
}

/// 1 at the first of the largest elements, 0 elsewhere.
template <typename T>
void hardmax_row(const T* x, T* y, int64_t count) {
  int64_t best = 0;
  for (int64_t i = 0; i < count; ++i) {
    if (x[i] > x[best]) best = i;
    y[i] = 0;
  }
  y[best] = 1;
}

/// Runs `row(x, y, count)` on every distribution; one that is spread out is collected first.
template <typename T, typename Row>
void for_each_distribution(const Rows& rows, const T* x, T* y, Row row) {
  if (rows.count == 0) return;
  if (rows.inner == 1) {
    for (int64_t o = 0; o < rows.outer; ++o)
      row(x + o * rows.count, y + o * rows.count, rows.count);
    return;
  }
  std::vector<T> gathered(static_cast<size_t>(rows.count)), result(gathered.size());
  for (int64_t o = 0; o < rows.outer; ++o) {
    for (int64_t i = 0; i < rows.inner; ++i) {
      const int64_t base = o * rows.count * rows.inner + i;
      for (size_t k = 0; k < gathered.size(); ++k)
        gathered[k] = x[base + static_cast<int64_t>(k) * rows.inner];
      row(gathered.data(), result.data(), rows.count);
      for (size_t k = 0; k < gathered.size(); ++k)
        y[base + static_cast<int64_t>(k) * rows.inner] = result[k];
    }
  }
}

template <typename F>
std::vector<Tensor> eval(const Node& node, Tensors in) {
  const Shape& shape = in[0]->shape();
  const auto [first, last] = distribution(node, shape.size());
  const Rows rows = {extent_product(shape, 0, first), extent_product(shape, first, last),
                     extent_product(shape, last, shape.size())};
  Tensor y = Tensor::uninitialized(in[0]->dtype(), shape);
  visit_float(y.dtype(), [&]<typename T>() {
    for_each_distribution(
        rows, in[0]->data<T>().data(), y.mutable_data<T>().data(),
        [](const T* from, T* to, int64_t count) { F().template operator()<T>(from, to, count); });
  });
  return {std::move(y)};
}

struct SoftmaxRow {
  template <typename T>
  void operator()(const T* x, T* y, int64_t count) const {
    softmax_row(x, y, count);
  }
};
struct LogSoftmaxRow {
  template <typename T>
  void operator()(const T* x, T* y, int64_t count) const {
    log_softmax_row(x, y, count);
  }
};
struct HardmaxRow {
  template <typename T>
  void operator()(const T* x, T* y, int64_t count) const {
    hardmax_row(x, y, count);
  }
};

/// To opset 13. Over the last axis alone both forms mean the same; else
///
///   y = Reshape(Softmax(Flatten(x, axis), axis=-1), Shape(x))
void upgrade(Graph& graph, NodeId id, int64_t target) {
  if (graph.node(id).opset >= kAlongOneAxis || target < kAlongOneAxis) return;
  const ValueId x = graph.node(id).inputs[0], y = graph.node(id).outputs[0];
  const size_t rank = graph.shape(x).size();
  const auto [first, last] = distribution(graph.node(id), rank);
  if (first + 1 == rank) {
    graph.set_attribute(id, "axis", int64_t{-1});
    return;
  }
  const std::string name = graph.node(id).name, op = graph.node(id).op;
  const auto insert = [&](const char* kind, std::vector<ValueId> inputs, Attributes attributes) {
    const std::string suffix = kind == op ? "" : std::string("_") + kind;
    const ValueId result =
        graph.insert_node(id, kind, std::move(inputs), std::move(attributes), name + suffix);
    graph.set_node_opset(*graph.value(result).producer, kAlongOneAxis);
    return result;
  };
  const ValueId flat = insert("Flatten", {x}, {{"axis", static_cast<int64_t>(first)}});
  const ValueId shape = insert("Shape", {x}, {});
  const ValueId result = insert(op.c_str(), {flat}, {{"axis", int64_t{-1}}});
  graph.replace_uses(y, insert("Reshape", {result, shape}, {}));
  graph.remove_node(id);
}

constexpr OpDef row(std::string_view name, std::vector<Tensor> (*eval)(const Node&, Tensors)) {
  return {.name = name,
          .infer = infer,
          .tie = tie,
          .channels =
              "the axis of the distribution stays, for its elements share one sum (reduce-classes "
              "may shrink it); others pass through",
          .other_ops = other_ops,
          .eval = eval,
          .upgrade = upgrade};
}

}  // namespace

constinit const OpDef kHardmax = row("Hardmax", eval<HardmaxRow>);
constinit const OpDef kLogSoftmax = row("LogSoftmax", eval<LogSoftmaxRow>);
constinit const OpDef kSoftmax = row("Softmax", eval<SoftmaxRow>);

}  // namespace pare
