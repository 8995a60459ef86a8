// Pooling over a sliding window: ONNX MaxPool, AveragePool, LpPool.
// https://onnx.ai/onnx/operators/onnx__MaxPool.html and the pages beside it
//
//   X [N, C, spatial...]   ->   Y [N, C, spatial'...]   (MaxPool also: Indices, i64, of Y's shape)

#include <cmath>
#include <limits>

#include "ir/channel_slots.h"
#include "ir/window.h"
#include "ops/elementwise.h"
#include "ops/lp.h"
#include "ops/rows.h"

namespace pare {
namespace {

Window window_of(const Node& node, const Shape& x) {
  const auto kernel = node.attribute<std::vector<int64_t>>("kernel_shape", {});
  if (kernel.empty())
    throw Error(ErrorKind::kInput,
                "attribute 'kernel_shape' is missing, expected a window extent "
                "for each spatial axis of " +
                    to_string(x));
  return sliding_window(node, x, kernel);
}

Shape output_shape(const Node& node, const Shape& x) {
  const Window window = window_of(node, x);
  Shape y{x[0], x[1]};
  const Shape spatial = spatial_shape(window.output, x.size() - 2);
  y.insert(y.end(), spatial.begin(), spatial.end());
  return y;
}

std::vector<TensorType> infer_float(const Node& node, Operands in) {
  require_dtype(in[0], is_float, "floats");
  return {{in[0].type->dtype, output_shape(node, in[0].shape())}};
}

/// Images and channels are pooled one by one; space is fixed.
void tie(const Graph&, const Node& node, ChannelSlots& slots) {
  const ValueId x = node.inputs[0], y = node.outputs[0];
  slots.tie({x, 0}, {y, 0});
  slots.tie({x, 1}, {y, 1});
  slots.fix_rest(x);
  slots.fix_rest(y);
}

/// Operations per output element, for a window that is all inside the image: `per_tap` for each
/// element of it and `per_output` at the end.
uint64_t count_ops(const Node& node, Operands in, std::span<const TensorType> out, int64_t per_tap,
                   int64_t per_output) {
  const int64_t taps = window_of(node, in[0].shape()).taps();
  return static_cast<uint64_t>(element_count(out[0].shape) * (taps * per_tap + per_output));
}

/// Calls `start(out)`, then `tap(out, in)` for each tap that reads the image, then `end(out,
/// padded)`, for each output index of one plane; `padded` counts the taps within the padded image.
template <typename Start, typename Tap, typename End>
void for_each_window(const Window& w, Start&& start, Tap&& tap, End&& end) {
  struct Span {
    int64_t first, last, origin, padded;  // Taps that read the image; index of tap 0; count.
  };
  const auto span = [&](size_t axis, int64_t position) {
    const int64_t origin = position * w.stride[axis] - w.pad_begin[axis], step = w.dilation[axis];
    const auto taps_below = [&](int64_t limit) {  // Taps t with origin + t * step < limit.
      return std::clamp<int64_t>(limit > origin ? (limit - origin - 1) / step + 1 : 0, 0,
                                 w.kernel[axis]);
    };
    const int64_t last = taps_below(w.input[axis]);
    return Span{std::min(taps_below(0), last), last, origin,
                taps_below(w.input[axis] + w.pad_end[axis])};
  };
  int64_t out = 0;
  for (int64_t d = 0; d < w.output[0]; ++d) {
    const Span a = span(0, d);
    for (int64_t h = 0; h < w.output[1]; ++h) {
      const Span b = span(1, h);
      for (int64_t v = 0; v < w.output[2]; ++v, ++out) {
        const Span c = span(2, v);
        start(out);
        for (int64_t i = a.first; i < a.last; ++i) {
          const int64_t plane = (a.origin + i * w.dilation[0]) * w.input[1];
          for (int64_t j = b.first; j < b.last; ++j) {
            const int64_t row = (plane + b.origin + j * w.dilation[1]) * w.input[2];
            for (int64_t k = c.first; k < c.last; ++k) tap(out, row + c.origin + k * w.dilation[2]);
          }
        }
        end(out, a.padded * b.padded * c.padded);
      }
    }
  }
}

// -- MaxPool ---------------------------------------------------------------------

bool is_max_dtype(DType dtype) {
  return is_float(dtype) || dtype == DType::kI8 || dtype == DType::kU8;
}

std::vector<TensorType> infer_max(const Node& node, Operands in) {
  require_dtype(in[0], is_max_dtype, "floats, int8 or uint8");
  const Shape y = output_shape(node, in[0].shape());
  return {{in[0].type->dtype, y}, {DType::kI64, y}};
}

/// Indices count through the whole of X, so they keep its channels where they are.
void tie_max(const Graph& graph, const Node& node, ChannelSlots& slots) {
  if (node.has_output(1)) {
    slots.fix_rest(node.inputs[0]);
    for (ValueId y : node.outputs) slots.fix_rest(y);
  } else {
    tie(graph, node, slots);
  }
}

/// One comparison for each element of a window but the first.
uint64_t max_ops(const Node& node, Operands in, std::span<const TensorType> out) {
  return count_ops(node, in, out, 1, -1);
}

/// An index into a row-major plane as one into the same plane stored column-major.
int64_t column_major(const Window& w, int64_t index) {
  const int64_t v = index % w.input[2], h = index / w.input[2] % w.input[1],
                d = index / (w.input[2] * w.input[1]);
  return (v * w.input[1] + h) * w.input[0] + d;
}

template <typename T>
void max_pool(const Window& w, int64_t planes, bool by_column, const T* x, T* y, int64_t* indices) {
  const T least = std::numeric_limits<T>::has_infinity ? -std::numeric_limits<T>::infinity()
                                                       : std::numeric_limits<T>::lowest();
  for (int64_t plane = 0; plane < planes; ++plane) {
    T best = least;
    int64_t where = 0;
    for_each_window(
        w, [&](int64_t) { best = least, where = -1; },
        [&](int64_t, int64_t in) {
          if (x[in] > best || where < 0) best = x[in], where = in;
        },
        [&](int64_t out, int64_t) {
          y[out] = best;
          if (!indices) return;
          const int64_t local = by_column && where >= 0 ? column_major(w, where) : where;
          indices[out] = where < 0 ? -1 : plane * w.input_size() + local;
        });
    x += w.input_size();
    y += w.positions();
    if (indices) indices += w.positions();
  }
}

std::vector<Tensor> eval_max(const Node& node, std::span<const Tensor* const> in) {
  const Tensor& x = *in[0];
  const std::vector<TensorType> types = infer_max(node, as_operands(in));
  const Window window = window_of(node, x.shape());
  const bool by_column = node.attribute<int64_t>("storage_order", 0) != 0;
  Tensor y = Tensor::uninitialized(x.dtype(), types[0].shape);
  Tensor indices;
  if (node.has_output(1)) indices = Tensor::uninitialized(DType::kI64, types[1].shape);
  int64_t* where = indices.defined() ? indices.mutable_data<int64_t>().data() : nullptr;
  visit_number(x.dtype(), [&]<typename T>() {
    max_pool(window, x.shape()[0] * x.shape()[1], by_column, x.data<T>().data(),
             y.mutable_data<T>().data(), where);
  });
  return {std::move(y), std::move(indices)};
}

// -- AveragePool -----------------------------------------------------------------

/// The sum over a window and its division.
uint64_t average_ops(const Node& node, Operands in, std::span<const TensorType> out) {
  return count_ops(node, in, out, 1, 0);
}

template <typename T>
void average_pool(const Window& w, int64_t planes, bool count_padding, const T* x, T* y) {
  for (int64_t plane = 0; plane < planes; ++plane) {
    T sum = 0;
    int64_t inside = 0;
    for_each_window(
        w, [&](int64_t) { sum = 0, inside = 0; },
        [&](int64_t, int64_t in) { sum += x[in], ++inside; },
        [&](int64_t out, int64_t padded) {
          const int64_t count = count_padding ? padded : inside;
          y[out] = count > 0 ? sum / static_cast<T>(count) : T{0};
        });
    x += w.input_size();
    y += w.positions();
  }
}

std::vector<Tensor> eval_average(const Node& node, std::span<const Tensor* const> in) {
  const Tensor& x = *in[0];
  Tensor y = Tensor::uninitialized(x.dtype(), infer_float(node, as_operands(in))[0].shape);
  const Window window = window_of(node, x.shape());
  const bool count_padding = node.attribute<int64_t>("count_include_pad", 0) != 0;
  visit_float(x.dtype(), [&]<typename T>() {
    average_pool(window, x.shape()[0] * x.shape()[1], count_padding, x.data<T>().data(),
                 y.mutable_data<T>().data());
  });
  return {std::move(y)};
}

// -- LpPool ----------------------------------------------------------------------

/// A power and an addition for each element of a window, and the root.
uint64_t lp_ops(const Node& node, Operands in, std::span<const TensorType> out) {
  return count_ops(node, in, out, 2, 1);
}

std::vector<Tensor> eval_lp(const Node& node, std::span<const Tensor* const> in) {
  const Tensor& x = *in[0];
  Tensor y = Tensor::uninitialized(x.dtype(), infer_float(node, as_operands(in))[0].shape);
  const Window w = window_of(node, x.shape());
  const LpNorm norm(node);
  visit_float(x.dtype(), [&]<typename T>() {
    const T* from = x.data<T>().data();
    T* to = y.mutable_data<T>().data();
    for (int64_t plane = 0; plane < x.shape()[0] * x.shape()[1]; ++plane) {
      T sum = 0;
      for_each_window(
          w, [&](int64_t) { sum = 0; },
          [&](int64_t, int64_t index) { sum += norm.power(from[index]); },
          [&](int64_t out, int64_t) { to[out] = norm.root(sum); });
      from += w.input_size();
      to += w.positions();
    }
  });
  return {std::move(y)};
}

}  // namespace

constinit const OpDef kMaxPool = {
    .name = "MaxPool",
    .infer = infer_max,
    .tie = tie_max,
    .channels = "channels pass through; space stays; all stays where the indices are asked for",
    .other_ops = max_ops,
    .eval = eval_max,
    .quant = Quant::kPassThrough,
};

constinit const OpDef kAveragePool = {
    .name = "AveragePool",
    .infer = infer_float,
    .tie = tie,
    .channels = "channels pass through; space stays",
    .other_ops = average_ops,
    .eval = eval_average,
    .quant = Quant::kRescale,
};

constinit const OpDef kLpPool = {
    .name = "LpPool",
    .infer = infer_float,
    .tie = tie,
    .channels = "channels pass through; space stays",
    .other_ops = lp_ops,
    .eval = eval_lp,
    .upgrade = upgrade_lp_norm,
};

}  // namespace pare
