// Pooling of all space: ONNX GlobalAveragePool, GlobalMaxPool, GlobalLpPool.
// https://onnx.ai/onnx/operators/onnx__GlobalAveragePool.html and the pages beside it
//
//   X [N, C, spatial...]   ->   Y [N, C, 1...]

#include <algorithm>
#include <limits>
#include <numeric>

#include "ir/channel_slots.h"
#include "ops/elementwise.h"
#include "ops/lp.h"
#include "ops/rows.h"

namespace pare {
namespace {

std::vector<TensorType> infer(const Node&, Operands in) {
  require_dtype(in[0], is_float, "floats");
  Shape y = in[0].shape();
  if (y.size() < 2)
    throw Error(ErrorKind::kInput, "input is " + to_string(y) + ", expected [N, C, spatial...]");
  std::fill(y.begin() + 2, y.end(), 1);
  return {{in[0].type->dtype, std::move(y)}};
}

/// Images and channels are pooled one by one; space is fixed.
void tie(const Graph&, const Node& node, ChannelSlots& slots) {
  const ValueId x = node.inputs[0], y = node.outputs[0];
  slots.tie({x, 0}, {y, 0});
  slots.tie({x, 1}, {y, 1});
  slots.fix_rest(x);
  slots.fix_rest(y);
}

/// Computes y[i] = reduce(first, last) over the elements of plane i.
template <typename Reduce>
std::vector<Tensor> pool(const Node& node, std::span<const Tensor* const> in, Reduce&& reduce) {
  const Tensor& x = *in[0];
  Tensor y = Tensor::uninitialized(x.dtype(), infer(node, as_operands(in))[0].shape);
  const int64_t planes = y.size(), space = planes > 0 ? x.size() / planes : 0;
  visit_float(x.dtype(), [&]<typename T>() {
    const T* from = x.data<T>().data();
    T* to = y.mutable_data<T>().data();
    for (int64_t i = 0; i < planes; ++i) to[i] = reduce(from + i * space, from + (i + 1) * space);
  });
  return {std::move(y)};
}

std::vector<Tensor> eval_average(const Node& node, std::span<const Tensor* const> in) {
  return pool(node, in, []<typename T>(const T* first, const T* last) {
    return static_cast<T>(std::accumulate(first, last, 0.0) / static_cast<double>(last - first));
  });
}

std::vector<Tensor> eval_max(const Node& node, std::span<const Tensor* const> in) {
  return pool(node, in, []<typename T>(const T* first, const T* last) {
    return std::accumulate(first, last, -std::numeric_limits<T>::infinity(),
                           [](T a, T b) { return std::max(a, b); });
  });
}

std::vector<Tensor> eval_lp(const Node& node, std::span<const Tensor* const> in) {
  const LpNorm norm(node);
  return pool(node, in, [&]<typename T>(const T* first, const T* last) {
    return norm.root(
        std::accumulate(first, last, T{0}, [&](T sum, T x) { return sum + norm.power(x); }));
  });
}

/// A power and an addition for each element of X; the roots are few.
uint64_t lp_ops(const Node& node, Operands in, std::span<const TensorType> out) {
  return 2 * one_per_input(node, in, out);
}

}  // namespace

constinit const OpDef kGlobalAveragePool = {
    .name = "GlobalAveragePool",
    .infer = infer,
    .tie = tie,
    .channels = "channels pass through; space stays",
    .other_ops = one_per_input,
    .eval = eval_average,
    .quant = Quant::kRescale,
};

constinit const OpDef kGlobalMaxPool = {
    .name = "GlobalMaxPool",
    .infer = infer,
    .tie = tie,
    .channels = "channels pass through; space stays",
    .other_ops = one_per_input,
    .eval = eval_max,
    .quant = Quant::kPassThrough,
};

constinit const OpDef kGlobalLpPool = {
    .name = "GlobalLpPool",
    .infer = infer,
    .tie = tie,
    .channels = "channels pass through; space stays",
    .other_ops = lp_ops,
    .eval = eval_lp,
    .upgrade = upgrade_lp_norm,
};

}  // namespace pare
