// Reductions: ReduceSum, ReduceMean, ReduceMax and their kin.
// https://onnx.ai/onnx/operators/onnx__ReduceSum.html and its like.
//
// The axes are an attribute in older opsets and an operand in newer ones (ReduceSum from 13, the
// others from 18). Without axes everything is reduced, unless noop_with_empty_axes is set.

#include <algorithm>
#include <cmath>
#include <limits>

#include "ir/channel_slots.h"
#include "ops/axes.h"
#include "ops/elementwise.h"
#include "ops/integer_math.h"
#include "ops/rows.h"

namespace pare {
namespace {

using Tensors = std::span<const Tensor* const>;

/// Which axes of a tensor of `rank` are reduced.
std::vector<bool> reduced_axes(const Node& node, const IntList& axes, size_t rank) {
  const bool everything =
      axes.values.empty() && node.attribute<int64_t>("noop_with_empty_axes", 0) == 0;
  std::vector<bool> reduced(rank, everything);
  for (size_t axis : normalize_axes(axes.values, rank)) reduced[axis] = true;
  return reduced;
}

/// The shape with reduced axes kept as 1, or dropped.
Shape reduced_shape(const Shape& x, const std::vector<bool>& reduced, bool keep) {
  Shape y;
  for (size_t axis = 0; axis < x.size(); ++axis) {
    if (!reduced[axis]) {
      y.push_back(x[axis]);
    } else if (keep) {
      y.push_back(1);
    }
  }
  return y;
}

bool keeps_dims(const Node& node) { return node.attribute<int64_t>("keepdims", 1) != 0; }

std::vector<TensorType> infer(const Node& node, Operands in) {
  const TensorType& x = *in[0].type;
  const IntList axes = int_list(node, "axes", in, 1);
  if (axes.given && !axes.known) {  // Computed: only a kept rank is certain.
    if (!keeps_dims(node)) return {TensorType::unknown(x.dtype)};
    return {{x.dtype, Shape(x.shape.size(), -1)}};
  }
  const std::vector<bool> reduced = reduced_axes(node, axes, x.shape.size());
  return {{x.dtype, reduced_shape(x.shape, reduced, keeps_dims(node))}};
}

/// Kept axes pass through. A reduced one is fixed: what a removed slice would have contributed
/// (a mean's count, sigmoid(0) to a sum) is not nothing.
void tie(const Graph& graph, const Node& node, ChannelSlots& slots) {
  const ValueId x = node.inputs[0], y = node.outputs[0];
  const IntList axes = int_list(graph, node, "axes", 1);
  if (!axes.given || axes.known) {
    const std::vector<bool> reduced = reduced_axes(node, axes, graph.shape(x).size());
    const bool keep = keeps_dims(node);
    // The best score, or a Softmax spelled out.
    const bool competes =
        slots.reducing_classes() && (node.op == "ReduceMax" || node.op == "ReduceSum");
    size_t to = 0;
    for (size_t axis = 0; axis < reduced.size(); ++axis) {
      if (reduced[axis] && competes) slots.free(dim_of(x, axis));
      if (!reduced[axis]) slots.tie(dim_of(x, axis), dim_of(y, to));
      if (!reduced[axis] || keep) ++to;
    }
  }
  for (ValueId value : node.inputs) slots.fix_rest(value);
  slots.fix_rest(y);
}

// -- Arithmetic ------------------------------------------------------------------

/// `value` as T; an integer T takes the nearest number it can hold, 0 for a NaN.
template <typename T>
T narrow(double value) {
  if constexpr (std::is_integral_v<T>) {
    using Limits = std::numeric_limits<T>;
    if (std::isnan(value)) return 0;
    if (value >= std::ldexp(1.0, Limits::digits)) return Limits::max();
    if (value <= static_cast<double>(Limits::lowest())) return Limits::lowest();
  }
  return static_cast<T>(value);
}

/// What sums are accumulated in: double for floats, 64 bits, wrapping, for integers.
template <typename T>
using Wide = std::conditional_t<std::is_floating_point_v<T>, double,
                                std::conditional_t<std::is_signed_v<T>, int64_t, uint64_t>>;

// Each reduction starts from `start`, adds an element with `step` and joins two partial results
// with `merge`; `finish` makes the result of `count` elements.

template <typename T>
struct SumOf {
  using Acc = Wide<T>;
  Acc start = 0;
  static Acc step(Acc acc, T x) { return wrap_add(acc, static_cast<Acc>(x)); }
  static Acc merge(Acc a, Acc b) { return wrap_add(a, b); }
  static T finish(Acc acc, int64_t) { return static_cast<T>(acc); }
};

template <typename T>
struct MeanOf : SumOf<T> {
  using Acc = Wide<T>;
  static T finish(Acc acc, int64_t count) {
    if constexpr (std::is_integral_v<T>) {
      if (count == 0) return 0;
    }
    return static_cast<T>(acc / static_cast<Acc>(count));
  }
};

template <typename T>
struct L1Of : SumOf<T> {
  using Acc = Wide<T>;
  static Acc step(Acc acc, T x) {
    const Acc wide = static_cast<Acc>(x);
    return wrap_add(acc, wide < Acc{0} ? wrap_subtract(Acc{0}, wide) : wide);
  }
};

template <typename T>
struct SumSquareOf : SumOf<T> {
  using Acc = Wide<T>;
  static Acc step(Acc acc, T x) {
    return wrap_add(acc, wrap_multiply(static_cast<Acc>(x), static_cast<Acc>(x)));
  }
};

template <typename T>
struct L2Of : SumSquareOf<T> {
  static T finish(Wide<T> acc, int64_t) { return narrow<T>(std::sqrt(static_cast<double>(acc))); }
};

template <typename T>
struct LogSumOf : SumOf<T> {
  static T finish(Wide<T> acc, int64_t) { return narrow<T>(std::log(static_cast<double>(acc))); }
};

template <typename T>
struct ProdOf {
  using Acc = Wide<T>;
  Acc start = 1;
  static Acc step(Acc acc, T x) { return wrap_multiply(acc, static_cast<Acc>(x)); }
  static Acc merge(Acc a, Acc b) { return wrap_multiply(a, b); }
  static T finish(Acc acc, int64_t) { return static_cast<T>(acc); }
};

/// The sum of e^x as a largest exponent and the sum relative to it, so that nothing overflows.
template <typename T>
struct LogSumExpOf {
  struct Acc {
    double largest = -std::numeric_limits<double>::infinity();
    double sum = 0;
  };
  Acc start;
  static Acc merge(Acc a, Acc b) {
    if (a.largest < b.largest) std::swap(a, b);
    if (b.sum == 0) return a;
    const double scale = a.largest == b.largest ? 1 : std::exp(b.largest - a.largest);
    return {a.largest, a.sum + b.sum * scale};
  }
  static Acc step(Acc acc, T x) { return merge(acc, {static_cast<double>(x), 1}); }
  static T finish(Acc acc, int64_t) { return narrow<T>(acc.largest + std::log(acc.sum)); }
};

/// Largest element (smallest where kSign is -1); a NaN spreads.
template <typename T, int kSign>
struct ExtremeOf {
  using Acc = T;
  using Limits = std::numeric_limits<T>;
  static constexpr T kHigh = Limits::has_infinity ? Limits::infinity() : Limits::max();
  static constexpr T kLow = Limits::has_infinity ? -Limits::infinity() : Limits::lowest();
  Acc start = kSign > 0 ? kLow : kHigh;
  static Acc step(Acc acc, T x) {
    const bool better = kSign > 0 ? x > acc : x < acc;
    return better || x != x ? x : acc;
  }
  static Acc merge(Acc a, Acc b) { return step(a, b); }
  static T finish(Acc acc, int64_t) { return acc; }
};
template <typename T>
using MaxOf = ExtremeOf<T, 1>;
template <typename T>
using MinOf = ExtremeOf<T, -1>;

/// Reduces a row of elements, four partial results abreast.
template <typename R, typename T>
typename R::Acc reduce_row(const R& reduction, const T* x, int64_t count) {
  typename R::Acc lanes[4] = {reduction.start, reduction.start, reduction.start, reduction.start};
  int64_t i = 0;
  for (; i + 4 <= count; i += 4) {
    for (int64_t k = 0; k < 4; ++k) lanes[k] = R::step(lanes[k], x[i + k]);
  }
  for (; i < count; ++i) lanes[0] = R::step(lanes[0], x[i]);
  return R::merge(R::merge(lanes[0], lanes[1]), R::merge(lanes[2], lanes[3]));
}

/// `y` has X's shape with the reduced axes as 1: then X is walked as if Y broadcast to it.
template <typename R, typename T>
void reduce(const Tensor& x, Tensor& y) {
  const R reduction;
  std::vector<typename R::Acc> accumulators(static_cast<size_t>(y.size()), reduction.start);
  const std::array<const Shape*, 2> shapes = {&x.shape(), &y.shape()};
  const BroadcastPlan plan = plan_broadcast(shapes, x.shape());
  const T* data = x.data<T>().data();
  for_each_row<2>(plan, [&](int64_t, const std::array<int64_t, 2>& offsets) {
    const T* from = data + offsets[0];
    typename R::Acc* to = accumulators.data() + offsets[1];
    if (plan.moves[1]) {
      for (int64_t i = 0; i < plan.row; ++i) to[i] = R::step(to[i], from[i]);
    } else {
      *to = R::merge(*to, reduce_row(reduction, from, plan.row));
    }
  });
  const int64_t count = y.size() == 0 ? 0 : x.size() / y.size();
  const std::span<T> results = y.mutable_data<T>();
  for (size_t i = 0; i < results.size(); ++i) results[i] = R::finish(accumulators[i], count);
}

template <template <typename> typename R>
std::vector<Tensor> eval(const Node& node, Tensors in) {
  const Tensor& x = *in[0];
  const std::vector<bool> reduced =
      reduced_axes(node, int_list(node, "axes", in, 1), x.shape().size());
  const bool flag = x.dtype() == DType::kBool;  // ReduceMax and ReduceMin take bool since opset 20.
  const Tensor numbers = flag ? cast(x, DType::kU8) : x;
  Tensor y = Tensor::uninitialized(numbers.dtype(), reduced_shape(x.shape(), reduced, true));
  visit_number(numbers.dtype(), [&]<typename T>() { reduce<R<T>, T>(numbers, y); });
  if (flag) y = cast(y, DType::kBool);
  return {y.reshaped(reduced_shape(x.shape(), reduced, keeps_dims(node)))};
}

// -- Rows ------------------------------------------------------------------------

constexpr int64_t kAxesAreOperand = 18;
constexpr int64_t kSumAxesAreOperand = 13;

/// Moves the axes from the attribute to an operand.
void upgrade(Graph& graph, NodeId id, int64_t target) {
  const Node& node = graph.node(id);
  const int64_t since = node.op == "ReduceSum" ? kSumAxesAreOperand : kAxesAreOperand;
  if (node.opset >= since || target < since || !node.has_attribute("axes")) return;
  const std::vector<int64_t> axes = node.attribute<std::vector<int64_t>>("axes", {});
  const Tensor tensor({static_cast<int64_t>(axes.size())}, axes);
  graph.set_input(id, 1, graph.add_constant(node.name + "_axes", tensor));
  graph.remove_attribute(id, "axes");
}

constexpr OpDef row(std::string_view name, std::vector<Tensor> (*eval)(const Node&, Tensors)) {
  return {
      .name = name,
      .min_inputs = 1,
      .max_inputs = 2,
      .infer = infer,
      .tie = tie,
      .channels = "reduced axes stay, for a removed slice would have counted; others pass through",
      .other_ops = one_per_input,
      .eval = eval,
      .upgrade = upgrade};
}

}  // namespace

constinit const OpDef kReduceL1 = row("ReduceL1", eval<L1Of>);
constinit const OpDef kReduceL2 = row("ReduceL2", eval<L2Of>);
constinit const OpDef kReduceLogSum = row("ReduceLogSum", eval<LogSumOf>);
constinit const OpDef kReduceLogSumExp = row("ReduceLogSumExp", eval<LogSumExpOf>);
constinit const OpDef kReduceMax = row("ReduceMax", eval<MaxOf>);
constinit const OpDef kReduceMean = row("ReduceMean", eval<MeanOf>);
constinit const OpDef kReduceMin = row("ReduceMin", eval<MinOf>);
constinit const OpDef kReduceProd = row("ReduceProd", eval<ProdOf>);
constinit const OpDef kReduceSum = row("ReduceSum", eval<SumOf>);
constinit const OpDef kReduceSumSquare = row("ReduceSumSquare", eval<SumSquareOf>);

}  // namespace pare
