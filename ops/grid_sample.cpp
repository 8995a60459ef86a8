// ONNX GridSample, X [N, C, D1, ...], grid [N, O1, ..., axes] -> Y [N, C, O1, ...], and AffineGrid.
// https://onnx.ai/onnx/operators/onnx__GridSample.html, onnx__AffineGrid.html

#include <algorithm>
#include <cmath>

#include "ir/channel_slots.h"
#include "ops/axes.h"
#include "ops/movement.h"

namespace pare {
namespace {

// -- GridSample
// --------------------------------------------------------------------------------------

enum class Padding : uint8_t { kZeros, kBorder, kReflection };

struct Sampler {
  std::string mode;
  Padding padding = Padding::kZeros;
  bool align_corners = false;
  int64_t taps = 1;  ///< Elements blended along each axis.
};

Sampler sampler_of(const Node& node) {
  Sampler sampler = {.mode = node.attribute("mode", "linear"),
                     .align_corners = node.attribute<int64_t>("align_corners", 0) != 0};
  if (sampler.mode == "bilinear") sampler.mode = "linear";  // Names of opset 16.
  if (sampler.mode == "bicubic") sampler.mode = "cubic";
  const std::string padding = node.attribute("padding_mode", "zeros");
  const bool known = padding == "zeros" || padding == "border" || padding == "reflection";
  if (!known ||
      (sampler.mode != "nearest" && sampler.mode != "linear" && sampler.mode != "cubic")) {
    throw Error(ErrorKind::kInput,
                "mode '" + sampler.mode + "' with padding_mode '" + padding + "' does not exist");
  }
  if (padding == "border") sampler.padding = Padding::kBorder;
  if (padding == "reflection") sampler.padding = Padding::kReflection;
  if (sampler.mode != "nearest") sampler.taps = sampler.mode == "linear" ? 2 : 4;
  return sampler;
}

Shape sampled_shape(const Shape& x, const Shape& grid) {
  const size_t axes = x.size() - std::min<size_t>(x.size(), 2);
  const bool fits = axes > 0 && grid.size() == axes + 2 && grid[0] == x[0] &&
                    grid.back() == static_cast<int64_t>(axes);
  if (!fits) {
    throw Error(ErrorKind::kInput,
                "grid " + to_string(grid) + " does not sample input " + to_string(x));
  }
  Shape out = {x[0], x[1]};
  out.insert(out.end(), grid.begin() + 1, grid.end() - 1);
  return out;
}

std::vector<TensorType> infer(const Node& node, Operands in) {
  (void)sampler_of(node);
  return {{in[0].type->dtype, sampled_shape(in[0].shape(), in[1].shape())}};
}

void tie(const Graph&, const Node& node, ChannelSlots& slots) {
  const ValueId x = node.inputs[0], y = node.outputs[0];
  slots.tie(dim_of(x, 1), dim_of(y, 1));
  for (ValueId value : {x, node.inputs[1], y}) slots.fix_rest(value);
}

/// The borders of an axis in elements: the middles of the outermost elements, or their edges.
float low_border(const Sampler& sampler) { return sampler.align_corners ? 0.0f : -0.5f; }
float high_border(const Sampler& sampler, int64_t extent) {
  return static_cast<float>(extent) - (sampler.align_corners ? 1.0f : 0.5f);
}

/// Folds `x` back between the borders, as often as it takes.
float reflect(float x, float low, float high) {
  const float range = high - low;
  if (range <= 0) return low;
  float distance = std::fmod(std::abs(x - low), 2 * range);
  if (distance > range) distance = 2 * range - distance;
  return low + distance;
}

/// A normalized coordinate, [-1, 1], in elements.
float locate(const Sampler& sampler, float normalized, int64_t extent) {
  const auto n = static_cast<float>(extent);
  float x = sampler.align_corners ? (normalized + 1) / 2 * (n - 1) : ((normalized + 1) * n - 1) / 2;
  if (sampler.mode == "nearest") x = std::nearbyint(x);
  const float low = low_border(sampler), high = high_border(sampler, extent);
  if (x < low || x > high) {
    if (sampler.padding == Padding::kBorder) x = std::clamp(x, 0.0f, n - 1);
    if (sampler.padding == Padding::kReflection) x = reflect(x, low, high);
  }
  constexpr float kFar = 1e9f;  // Is outside of any axis, and an integer can hold it.
  return std::isnan(x) ? -kFar : std::clamp(x, -kFar, kFar);
}

/// Index of an element on an axis, -1 for one that counts as zero.
int64_t element(const Sampler& sampler, int64_t i, int64_t extent) {
  if (i >= 0 && i < extent) return i;
  if (sampler.padding == Padding::kZeros) return -1;
  if (sampler.padding == Padding::kReflection)
    i = static_cast<int64_t>(
        reflect(static_cast<float>(i), low_border(sampler), high_border(sampler, extent)));
  return std::clamp<int64_t>(i, 0, extent - 1);
}

float weight(const Sampler& sampler, float distance) {
  constexpr float kA = -0.75f;
  const float d = std::abs(distance);
  if (sampler.mode == "nearest") return 1;
  if (sampler.mode == "linear") return std::max(0.0f, 1 - d);
  if (d <= 1) return ((kA + 2) * d - (kA + 3)) * d * d + 1;
  return d < 2 ? ((kA * d - 5 * kA) * d + 8 * kA) * d - 4 * kA : 0.0f;
}

struct Tap {
  int64_t offset;
  float weight;
};

/// The elements of one image plane that a grid point blends.
void collect_taps(const Sampler& sampler, const float* point, const Shape& plane,
                  const std::vector<int64_t>& strides, std::vector<Tap>& taps) {
  taps.assign(1, {0, 1.0f});
  for (size_t a = 0; a < plane.size(); ++a) {
    const float x = locate(sampler, point[plane.size() - 1 - a], plane[a]);  // Last axis first.
    const auto base = static_cast<int64_t>(std::floor(x));
    std::vector<Tap> next;
    for (int64_t k = 0; k < sampler.taps; ++k) {
      const int64_t i = base + k - (sampler.taps == 4 ? 1 : 0);
      const float w = weight(sampler, x - static_cast<float>(i));
      const int64_t source = element(sampler, i, plane[a]);
      if (source < 0 || w == 0) continue;
      for (const Tap& tap : taps)
        next.push_back({tap.offset + source * strides[a], tap.weight * w});
    }
    taps = std::move(next);
  }
}

std::vector<Tensor> eval(const Node& node, std::span<const Tensor* const> in) {
  const Tensor x = cast(*in[0], DType::kF32), grid = cast(*in[1], DType::kF32);
  const Sampler sampler = sampler_of(node);
  const Shape shape = sampled_shape(x.shape(), grid.shape());
  const Shape plane(x.shape().begin() + 2, x.shape().end());
  const int64_t size = element_count(plane), points = extent_product(shape, 2, shape.size());
  Tensor y = Tensor(DType::kF32, shape);
  if (size == 0) return {cast(y, in[0]->dtype())};
  const std::vector<int64_t> strides = row_strides(plane);
  const float* point = grid.data<float>().data();
  const float* from = x.data<float>().data();
  float* to = y.mutable_data<float>().data();
  std::vector<Tap> taps;
  for (int64_t image = 0; image < shape[0]; ++image) {
    for (int64_t p = 0; p < points; ++p, point += plane.size()) {
      collect_taps(sampler, point, plane, strides, taps);
      for (int64_t c = 0; c < shape[1]; ++c) {
        const int64_t channel = image * shape[1] + c;
        float sum = 0;
        for (const Tap& tap : taps) sum += tap.weight * from[channel * size + tap.offset];
        to[channel * points + p] = sum;
      }
    }
  }
  return {cast(y, in[0]->dtype())};
}

// -- AffineGrid
// --------------------------------------------------------------------------------------

/// theta [N, k, k + 1] with size [N, C, D1 .. Dk] gives [N, D1 .. Dk, k].
Shape affine_shape(const Shape& theta, const std::vector<int64_t>& size) {
  const size_t axes = size.size() - std::min<size_t>(size.size(), 2);
  const auto k = static_cast<int64_t>(axes);
  const bool fits = axes > 0 && theta == Shape{size[0], k, k + 1} &&
                    std::ranges::all_of(size, [](int64_t e) { return e >= 0; });
  if (!fits) {
    throw Error(ErrorKind::kInput,
                "theta " + to_string(theta) + " does not fit size " + to_string(size));
  }
  Shape out = {size[0]};
  out.insert(out.end(), size.begin() + 2, size.end());
  out.push_back(k);
  return out;
}

std::vector<TensorType> infer_affine(const Node& node, Operands in) {
  const IntList size = int_list(node, {}, in, 1);
  const DType dtype = in[0].type->dtype;
  if (size.known) return {{dtype, affine_shape(in[0].shape(), size.values)}};
  return {TensorType::unknown(dtype)};
}

std::vector<Tensor> eval_affine(const Node& node, std::span<const Tensor* const> in) {
  const Tensor theta = cast(*in[0], DType::kF32);
  const Shape shape = affine_shape(theta.shape(), to_int64(*in[1]));
  const bool align = node.attribute<int64_t>("align_corners", 0) != 0;
  const auto k = static_cast<size_t>(shape.back());
  const Shape plane(shape.begin() + 1, shape.end() - 1);
  Tensor grid = Tensor::uninitialized(DType::kF32, shape);
  float* to = grid.mutable_data<float>().data();
  const auto place = [&](int64_t i, int64_t extent) {  // Normalized; an axis of 1 is its middle.
    const auto n = static_cast<float>(extent), x = static_cast<float>(i);
    if (align) return extent > 1 ? 2 * x / (n - 1) - 1 : 0.0f;
    return (2 * x + 1) / n - 1;
  };
  const std::vector<int64_t> strides = row_strides(plane);
  for (int64_t image = 0; image < shape[0]; ++image) {
    const float* matrix = theta.data<float>().data() + static_cast<size_t>(image) * k * (k + 1);
    for (int64_t p = 0; p < element_count(plane); ++p) {
      for (size_t row = 0; row < k; ++row) {
        float sum = matrix[row * (k + 1) + k];
        for (size_t a = 0; a < k; ++a)  // Coordinates run from the last axis to the first.
          sum += matrix[row * (k + 1) + k - 1 - a] * place(p / strides[a] % plane[a], plane[a]);
        *to++ = sum;
      }
    }
  }
  return {cast(grid, in[0]->dtype())};
}

}  // namespace

extern const OpDef kAffineGrid;
constinit const OpDef kAffineGrid = {.name = "AffineGrid",
                                     .min_inputs = 2,
                                     .max_inputs = 2,
                                     .infer = infer_affine,
                                     .eval = eval_affine};

extern const OpDef kGridSample;
constinit const OpDef kGridSample = {.name = "GridSample",
                                     .min_inputs = 2,
                                     .max_inputs = 2,
                                     .infer = infer,
                                     .tie = tie,
                                     .channels = "channels pass through; space stays",
                                     .eval = eval};

}  // namespace pare
