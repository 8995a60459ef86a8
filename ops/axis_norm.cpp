// Normalizations without parameters: ONNX LpNormalization (along one axis),
// MeanVarianceNormalization (over a set of axes), LRN (over neighbouring channels).
// https://onnx.ai/onnx/operators/onnx__LRN.html and the pages beside it
//
//   X   ->   Y of X's shape

#include <algorithm>
#include <cmath>

#include "ir/channel_slots.h"
#include "ops/axes.h"
#include "ops/elementwise.h"
#include "ops/lp.h"
#include "ops/rows.h"

namespace pare {
namespace {

/// Axes of X and Y live together; those in `mixed` are fixed.
void tie_but(const Graph& graph, const Node& node, ChannelSlots& slots,
             const std::vector<size_t>& mixed) {
  const ValueId x = node.inputs[0], y = node.outputs[0];
  for (size_t i = 0; i < graph.shape(x).size(); ++i) slots.tie(dim_of(x, i), dim_of(y, i));
  for (size_t axis : mixed) slots.fix(dim_of(y, axis));
}

// -- LpNormalization -------------------------------------------------------------

std::vector<TensorType> infer_lp(const Node& node, Operands in) {
  require_dtype(in[0], is_float, "floats");
  (void)axis_attribute(node, -1, in[0].shape().size());
  return {*in[0].type};
}

void tie_lp(const Graph& graph, const Node& node, ChannelSlots& slots) {
  const size_t rank = graph.shape(node.inputs[0]).size();
  tie_but(graph, node, slots, {axis_attribute(node, -1, rank)});
}

/// Per element: a power, an addition, a division.
uint64_t lp_ops(const Node& node, Operands in, std::span<const TensorType> out) {
  return 3 * one_per_output(node, in, out);
}

std::vector<Tensor> eval_lp(const Node& node, std::span<const Tensor* const> in) {
  const Tensor& x = *in[0];
  (void)infer_lp(node, as_operands(in));
  const LpNorm norm(node);
  const size_t rank = x.shape().size(), axis = axis_attribute(node, -1, rank);
  const int64_t outer = extent_product(x.shape(), 0, axis), extent = x.shape()[axis],
                inner = extent_product(x.shape(), axis + 1, rank);
  Tensor y = Tensor::uninitialized(x.dtype(), x.shape());
  visit_float(x.dtype(), [&]<typename T>() {
    const T* from = x.data<T>().data();
    T* to = y.mutable_data<T>().data();
    for (int64_t o = 0; o < outer * inner; ++o) {
      const int64_t first = o / inner * extent * inner + o % inner;
      T sum = 0;
      for (int64_t i = 0; i < extent; ++i) sum += norm.power(from[first + i * inner]);
      const T length = norm.root(sum);
      for (int64_t i = 0; i < extent; ++i)
        to[first + i * inner] = length > 0 ? from[first + i * inner] / length : T{0};
    }
  });
  return {std::move(y)};
}

// -- MeanVarianceNormalization -----------------------------------------------------

std::vector<size_t> mean_axes(const Node& node, size_t rank) {
  return normalize_axes(node.attribute<std::vector<int64_t>>("axes", {0, 2, 3}), rank);
}

std::vector<TensorType> infer_mean(const Node& node, Operands in) {
  require_dtype(in[0], is_float, "floats");
  (void)mean_axes(node, in[0].shape().size());
  return {*in[0].type};
}

void tie_mean(const Graph& graph, const Node& node, ChannelSlots& slots) {
  tie_but(graph, node, slots, mean_axes(node, graph.shape(node.inputs[0]).size()));
}

/// Per element: mean 1, centring 1, variance 2, standardizing 1.
uint64_t mean_ops(const Node& node, Operands in, std::span<const TensorType> out) {
  return 5 * one_per_output(node, in, out);
}

std::vector<Tensor> eval_mean(const Node& node, std::span<const Tensor* const> in) {
  constexpr double kEpsilon = 1e-9;  // Of the op's function body.
  const Tensor& x = *in[0];
  (void)infer_mean(node, as_operands(in));
  Shape kept = x.shape();
  for (size_t axis : mean_axes(node, kept.size())) kept[axis] = 1;
  const std::array<const Shape*, 1> shapes = {&kept};
  const BroadcastPlan plan = plan_broadcast(shapes, x.shape());
  Tensor y = Tensor::uninitialized(x.dtype(), x.shape());
  if (y.size() == 0) return {std::move(y)};
  const auto buckets = static_cast<size_t>(element_count(kept));
  const double count = static_cast<double>(x.size()) / static_cast<double>(buckets);
  std::vector<double> mean(buckets), deviation(buckets);
  visit_float(x.dtype(), [&]<typename T>() {
    const T* from = x.data<T>().data();
    T* to = y.mutable_data<T>().data();
    const auto for_each = [&](auto&& body) {  // body(element, bucket)
      for_each_row<1>(plan, [&](int64_t first, const std::array<int64_t, 1>& offset) {
        for (int64_t i = 0; i < plan.row; ++i)
          body(first + i, static_cast<size_t>(offset[0] + (plan.moves[0] ? i : 0)));
      });
    };
    for_each([&](int64_t i, size_t b) { mean[b] += static_cast<double>(from[i]) / count; });
    for_each([&](int64_t i, size_t b) {
      const double centred = static_cast<double>(from[i]) - mean[b];
      deviation[b] += centred * centred / count;
    });
    for (double& d : deviation) d = std::sqrt(d) + kEpsilon;
    for_each([&](int64_t i, size_t b) {
      to[i] = static_cast<T>((static_cast<double>(from[i]) - mean[b]) / deviation[b]);
    });
  });
  return {std::move(y)};
}

// -- LRN ---------------------------------------------------------------------------

std::vector<TensorType> infer_lrn(const Node& node, Operands in) {
  require_dtype(in[0], is_float, "floats");
  const Shape& x = in[0].shape();
  if (x.size() < 2)
    throw Error(ErrorKind::kInput, "input is " + to_string(x) + ", expected [N, C, ...]");
  if (node.attribute<int64_t>("size", 0) < 1)
    throw Error(ErrorKind::kInput, "attribute 'size' is " +
                                       std::to_string(node.attribute<int64_t>("size", 0)) +
                                       ", expected a positive number of channels");
  return {*in[0].type};
}

void tie_lrn(const Graph& graph, const Node& node, ChannelSlots& slots) {
  tie_but(graph, node, slots, {1});
}

/// Per element: a square and an addition for each channel of the region; then scaling, adding the
/// bias, the power and the division.
uint64_t lrn_ops(const Node& node, Operands in, std::span<const TensorType> out) {
  const int64_t region = std::min(node.attribute<int64_t>("size", 1), in[0].shape()[1]);
  return static_cast<uint64_t>(2 * region + 4) * one_per_output(node, in, out);
}

template <typename T>
void lrn(const Node& node, const Tensor& x, Tensor& y) {
  const auto size = node.attribute<int64_t>("size", 1);
  const T alpha = static_cast<T>(node.attribute("alpha", 1e-4f)) / static_cast<T>(size);
  const auto beta = static_cast<T>(node.attribute("beta", 0.75f)),
             bias = static_cast<T>(node.attribute("bias", 1.0f));
  const int64_t channels = x.shape()[1], space = extent_product(x.shape(), 2, x.shape().size());
  const T* from = x.data<T>().data();
  T* to = y.mutable_data<T>().data();
  std::vector<T> sums(static_cast<size_t>(space));
  for (int64_t n = 0; n < x.shape()[0]; ++n) {
    for (int64_t c = 0; c < channels; ++c) {
      const int64_t first = std::max<int64_t>(0, c - (size - 1) / 2);
      const int64_t last = c + std::min(channels - 1 - c, size / 2);
      std::ranges::fill(sums, T{0});
      for (int64_t i = first; i <= last; ++i) {
        const T* plane = from + (n * channels + i) * space;
        for (size_t s = 0; s < sums.size(); ++s) sums[s] += plane[s] * plane[s];
      }
      const int64_t plane = (n * channels + c) * space;
      for (size_t s = 0; s < sums.size(); ++s)
        to[plane + static_cast<int64_t>(s)] =
            from[plane + static_cast<int64_t>(s)] / std::pow(bias + alpha * sums[s], beta);
    }
  }
}

std::vector<Tensor> eval_lrn(const Node& node, std::span<const Tensor* const> in) {
  (void)infer_lrn(node, as_operands(in));
  Tensor y = Tensor::uninitialized(in[0]->dtype(), in[0]->shape());
  visit_float(y.dtype(), [&]<typename T>() { lrn<T>(node, *in[0], y); });
  return {std::move(y)};
}

}  // namespace

constinit const OpDef kLpNormalization = {
    .name = "LpNormalization",
    .infer = infer_lp,
    .tie = tie_lp,
    .channels = "the normalized axis stays, for its elements share one norm; others pass through",
    .other_ops = lp_ops,
    .eval = eval_lp,
};

constinit const OpDef kMeanVarianceNormalization = {
    .name = "MeanVarianceNormalization",
    .infer = infer_mean,
    .tie = tie_mean,
    .channels = "normalized axes stay, for their elements share one mean; others pass through",
    .other_ops = mean_ops,
    .eval = eval_mean,
};

constinit const OpDef kLRN = {
    .name = "LRN",
    .infer = infer_lrn,
    .tie = tie_lrn,
    .channels = "channels stay, for each is divided by its neighbours; other axes pass through",
    .other_ops = lrn_ops,
    .eval = eval_lrn,
};

}  // namespace pare
