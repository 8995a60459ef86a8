#include "ops/resample.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "ops/axes.h"
#include "ops/movement.h"

namespace pare {
namespace {

/// Weights for one axis: output o is the sum over k of weight[o * count + k] * x[index[...]].
struct Taps {
  int64_t count = 1;
  std::vector<int64_t> index;
  std::vector<float> weight;
  std::vector<bool> outside;  ///< By output; takes the extrapolation value instead.
};

/// Where output index `o` lies on the input axis. In float, as ONNX Runtime computes it.
float coordinate(const AxisScale& axis, const std::string& mode, int64_t o) {
  const auto x = static_cast<float>(o);
  const auto in = static_cast<float>(axis.in);
  const float resized = axis.scale * in;  // Not rounded to whole elements.
  if (mode == "half_pixel") return (x + 0.5f) / axis.scale - 0.5f;
  if (mode == "asymmetric") return x / axis.scale;
  if (mode == "tf_half_pixel_for_nn") return (x + 0.5f) / axis.scale;
  if (mode == "pytorch_half_pixel") return axis.out > 1 ? (x + 0.5f) / axis.scale - 0.5f : 0.0f;
  if (mode == "align_corners") return resized == 1 ? 0.0f : x * (in - 1) / (resized - 1);
  if (mode == "half_pixel_symmetric") {
    const float adjustment = static_cast<float>(axis.out) / resized;
    return in / 2 * (1 - adjustment) + (x + 0.5f) / axis.scale - 0.5f;
  }
  if (mode == "tf_crop_and_resize") {
    const float width = (axis.roi_end - axis.roi_start) * (in - 1);
    const float start = axis.roi_start * (in - 1);
    return axis.out > 1 ? start + x * width / static_cast<float>(axis.out - 1)
                        : (axis.roi_start + axis.roi_end) * (in - 1) / 2;
  }
  throw Error(ErrorKind::kInput, "coordinate_transformation_mode '" + mode + "' does not exist");
}

/// To whole elements; far more than any index where that overflows.
int64_t whole(float x) {
  constexpr float kLimit = 4e18f;
  return static_cast<int64_t>(std::isnan(x) ? 0.0f : std::clamp(x, -kLimit, kLimit));
}

int64_t nearest(float x, const std::string& rounding, float scale) {
  if (rounding == "round_prefer_floor") return whole(std::ceil(x - 0.5f));
  if (rounding == "round_prefer_ceil") return whole(std::floor(x + 0.5f));
  if (rounding == "floor") return whole(std::floor(x));
  if (rounding == "ceil") return whole(std::ceil(x));
  if (rounding == "simple") return whole(scale < 1 ? std::ceil(x) : std::floor(x));
  throw Error(ErrorKind::kInput, "nearest_mode '" + rounding + "' does not exist");
}

/// Keys, "Cubic convolution interpolation for digital image processing", IEEE TASSP 29(6), 1981.
float cubic_weight(float x, float a) {
  x = std::abs(x);
  if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
  return 0;
}

bool is_outside(const AxisScale& axis, const Sampling& sampling, float x) {
  return sampling.coordinates == "tf_crop_and_resize" &&
         (x < 0 || x > static_cast<float>(axis.in - 1));
}

/// Source index of each output, -1 where the extrapolation value goes.
std::vector<int64_t> nearest_map(const AxisScale& axis, const Sampling& sampling) {
  std::vector<int64_t> map;
  for (int64_t o = 0; o < axis.out; ++o) {
    const float x = coordinate(axis, sampling.coordinates, o);
    const int64_t source = nearest(x, sampling.rounding, axis.scale);
    map.push_back(is_outside(axis, sampling, x) ? -1 : std::clamp<int64_t>(source, 0, axis.in - 1));
  }
  return map;
}

/// Adds the taps of one output, which lies at `x`; `stretch` is the kernel's scale (1 unless
/// antialiased), `radius` how many elements it reaches to each side.
void add_taps(const AxisScale& axis, const Sampling& sampling, float x, float stretch,
              int64_t radius, Taps& taps) {
  const float base = std::floor(x), ratio = x - base;
  const size_t first = taps.weight.size();
  float sum = 0;
  for (int64_t k = 1 - radius; k <= radius; ++k) {
    const float distance = (static_cast<float>(k) - ratio) * stretch;
    const int64_t source = whole(base) + k;
    float weight = sampling.mode == "cubic" ? cubic_weight(distance, sampling.cubic_a)
                                            : std::max(0.0f, 1 - std::abs(distance));
    if (sampling.exclude_outside && (source < 0 || source >= axis.in)) weight = 0;
    taps.index.push_back(std::clamp<int64_t>(source, 0, axis.in - 1));
    taps.weight.push_back(weight);
    sum += weight;
  }
  if (sum == 0 || (stretch == 1 && !sampling.exclude_outside)) return;
  for (size_t i = first; i < taps.weight.size(); ++i) taps.weight[i] /= sum;
}

Taps taps_of(const AxisScale& axis, const Sampling& sampling) {
  const float stretch = sampling.antialias ? std::min(axis.scale, 1.0f) : 1.0f;
  const float support = (sampling.mode == "cubic" ? 2.0f : 1.0f) / stretch;
  // More taps than elements on both sides add nothing but weight on the edges.
  constexpr float kMaxRadius = 1 << 20;
  const int64_t radius = whole(std::min(std::ceil(support), kMaxRadius));
  Taps taps = {.count = 2 * radius};
  for (int64_t o = 0; o < axis.out; ++o) {
    const float x = coordinate(axis, sampling.coordinates, o);
    taps.outside.push_back(is_outside(axis, sampling, x));
    add_taps(axis, sampling, x, stretch, radius, taps);
  }
  return taps;
}

/// One row of output: the weighted sum of rows of `x`, `inner` elements long.
template <typename T>
void blend(const Taps& taps, int64_t o, int64_t inner, const T* x, T* y) {
  const auto first = static_cast<size_t>(o * taps.count), n = static_cast<size_t>(inner);
  std::fill_n(y, n, T{0});
  for (size_t k = first; k < first + static_cast<size_t>(taps.count); ++k) {
    if (taps.weight[k] == 0) continue;  // Must not turn an infinity into NaN.
    const T weight = static_cast<T>(taps.weight[k]);
    const T* row = x + taps.index[k] * inner;
    for (size_t i = 0; i < n; ++i) y[i] += weight * row[i];
  }
}

template <typename T>
Tensor interpolate_axis(const Tensor& x, size_t a, const AxisScale& axis,
                        const Sampling& sampling) {
  const Taps taps = taps_of(axis, sampling);
  Shape shape = x.shape();
  shape[a] = axis.out;
  Tensor result = Tensor::uninitialized(x.dtype(), shape);
  const int64_t outer = extent_product(shape, 0, a);
  const int64_t inner = extent_product(shape, a + 1, shape.size());
  const T* from = x.data<T>().data();
  T* to = result.mutable_data<T>().data();
  for (int64_t i = 0; i < outer; ++i, from += axis.in * inner) {
    for (int64_t o = 0; o < axis.out; ++o, to += inner) {
      if (taps.outside[static_cast<size_t>(o)]) {
        std::fill_n(to, inner, static_cast<T>(sampling.extrapolation));
      } else {
        blend(taps, o, inner, from, to);
      }
    }
  }
  return result;
}

bool unchanged(const AxisScale& axis, const Sampling& sampling) {
  return !axis.listed ||
         (axis.in == axis.out && axis.scale == 1 && sampling.coordinates != "tf_crop_and_resize" &&
          sampling.coordinates != "tf_half_pixel_for_nn");
}

Tensor resample_nearest(const Tensor& x, const std::vector<AxisScale>& axes,
                        const Sampling& sampling) {
  std::vector<std::vector<int64_t>> maps;
  for (const AxisScale& axis : axes) {
    if (unchanged(axis, sampling)) {
      std::vector<int64_t>& map = maps.emplace_back(static_cast<size_t>(axis.in));
      std::iota(map.begin(), map.end(), int64_t{0});
    } else {
      maps.push_back(nearest_map(axis, sampling));
    }
  }
  const Tensor fill = cast(Tensor::scalar(sampling.extrapolation), x.dtype());
  return mapped_copy(x, maps, fill.bytes());
}

}  // namespace

Tensor resample(const Tensor& x, const std::vector<AxisScale>& axes, const Sampling& sampling) {
  Shape shape;
  for (const AxisScale& axis : axes) {
    if (axis.in == 0 && axis.out > 0)
      throw Error(ErrorKind::kInput, "an empty axis cannot be enlarged");
    shape.push_back(axis.out);
  }
  if (element_count(shape) == 0) return Tensor(x.dtype(), shape);
  if (sampling.mode == "nearest") return resample_nearest(x, axes, sampling);
  if (sampling.mode != "linear" && sampling.mode != "cubic")
    throw Error(ErrorKind::kInput,
                "mode '" + sampling.mode + "' is none of nearest, linear, cubic");

  const bool wide = x.dtype() == DType::kF64;
  Tensor y = cast(x, wide ? DType::kF64 : DType::kF32);
  std::vector<size_t> order(axes.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, {}, [&](size_t a) { return axes[a].scale; });  // Shrink first.
  for (size_t a : order) {
    if (unchanged(axes[a], sampling)) continue;
    y = wide ? interpolate_axis<double>(y, a, axes[a], sampling)
             : interpolate_axis<float>(y, a, axes[a], sampling);
  }
  return cast(y, x.dtype());
}

}  // namespace pare
