// ONNX RoiAlign: X [N, C, H, W], rois [R, 4], batch_indices [R] -> [R, C, h, w].
// https://onnx.ai/onnx/operators/onnx__RoiAlign.html

#include <algorithm>
#include <array>
#include <cmath>

#include "ir/channel_slots.h"
#include "ops/axes.h"

namespace pare {
namespace {

struct Pooling {
  int64_t height, width, samples;  ///< Samples a bin and axis; 0 adapts to the region.
  float scale, offset;
  bool max;
};

Pooling pooling_of(const Node& node) {
  const bool half_pixel = node.opset >= 16 && node.attribute("coordinate_transformation_mode",
                                                             "half_pixel") == "half_pixel";
  const Pooling pooling = {.height = node.attribute<int64_t>("output_height", 1),
                           .width = node.attribute<int64_t>("output_width", 1),
                           .samples = node.attribute<int64_t>("sampling_ratio", 0),
                           .scale = node.attribute<float>("spatial_scale", 1.0f),
                           .offset = half_pixel ? 0.5f : 0.0f,
                           .max = node.attribute("mode", "avg") == "max"};
  constexpr int64_t kMost = 1024;
  if (pooling.height <= 0 || pooling.height > kMost || pooling.width <= 0 ||
      pooling.width > kMost || pooling.samples < 0 || pooling.samples > kMost)
    throw Error(ErrorKind::kInput, "output_height, output_width or sampling_ratio is out of range");
  return pooling;
}

Shape pooled_shape(const Node& node, const Shape& x, const Shape& rois, const Shape& batch) {
  const Pooling pooling = pooling_of(node);
  if (x.size() != 4 || rois.size() != 2 || rois[1] != 4 || batch != Shape{rois[0]}) {
    throw Error(ErrorKind::kInput, "input " + to_string(x) + ", rois " + to_string(rois) +
                                       " and batch_indices " + to_string(batch) +
                                       " are not [N,C,H,W], [R,4] and [R]");
  }
  return {rois[0], x[1], pooling.height, pooling.width};
}

std::vector<TensorType> infer(const Node& node, Operands in) {
  return {{in[0].type->dtype, pooled_shape(node, in[0].shape(), in[1].shape(), in[2].shape())}};
}

void tie(const Graph&, const Node& node, ChannelSlots& slots) {
  const ValueId x = node.inputs[0], y = node.outputs[0];
  slots.tie(dim_of(x, 1), dim_of(y, 1));
  for (ValueId value : {x, node.inputs[1], node.inputs[2], y}) slots.fix_rest(value);
}

/// A point of a plane as four elements and their weights, all zero outside.
struct Point {
  std::array<int64_t, 4> offset{};
  std::array<float, 4> weight{};
};

Point point_at(float y, float x, int64_t height, int64_t width) {
  const auto h = static_cast<float>(height), w = static_cast<float>(width);
  if (!(y >= -1 && y <= h && x >= -1 && x <= w)) return {};
  y = std::min(std::max(y, 0.0f), h - 1), x = std::min(std::max(x, 0.0f), w - 1);
  const auto y0 = static_cast<int64_t>(y), x0 = static_cast<int64_t>(x);
  const int64_t y1 = std::min(y0 + 1, height - 1), x1 = std::min(x0 + 1, width - 1);
  const float dy = y - static_cast<float>(y0), dx = x - static_cast<float>(x0);
  return {{y0 * width + x0, y0 * width + x1, y1 * width + x0, y1 * width + x1},
          {(1 - dy) * (1 - dx), (1 - dy) * dx, dy * (1 - dx), dy * dx}};
}

/// One region of interest, in elements of the plane.
struct Region {
  float y0, x0, bin_h, bin_w;
  int64_t rows, columns;  ///< Samples of a bin.
};

Region region_of(const Pooling& pooling, const float* roi) {
  const float x0 = roi[0] * pooling.scale - pooling.offset;
  const float y0 = roi[1] * pooling.scale - pooling.offset;
  float w = roi[2] * pooling.scale - pooling.offset - x0;
  float h = roi[3] * pooling.scale - pooling.offset - y0;
  if (pooling.offset == 0) w = std::max(w, 1.0f), h = std::max(h, 1.0f);
  const float bin_h = h / static_cast<float>(pooling.height);
  const float bin_w = w / static_cast<float>(pooling.width);
  const auto samples = [&](float bin) {  // One an element; a bin beyond any image stays finite.
    constexpr float kMost = 1024;
    const float adapted = std::min(std::max(std::ceil(bin), 0.0f), kMost);
    return pooling.samples > 0 ? pooling.samples : static_cast<int64_t>(adapted);
  };
  return {y0, x0, bin_h, bin_w, samples(bin_h), samples(bin_w)};
}

/// The points that bin (row, column) of a region looks at.
std::vector<Point> points_of(const Region& region, int64_t row, int64_t column, int64_t height,
                             int64_t width) {
  std::vector<Point> points;
  for (int64_t s = 0; s < region.rows * region.columns; ++s) {
    const int64_t sample_row = s / region.columns, sample_column = s % region.columns;
    const auto i = static_cast<float>(sample_row) + 0.5f;
    const auto j = static_cast<float>(sample_column) + 0.5f;
    const float y = static_cast<float>(row) + i / static_cast<float>(region.rows);
    const float x = static_cast<float>(column) + j / static_cast<float>(region.columns);
    points.push_back(
        point_at(region.y0 + y * region.bin_h, region.x0 + x * region.bin_w, height, width));
  }
  return points;
}

/// Mean of the points of a bin, or the largest of their weighted elements.
float pool(std::span<const Point> points, const float* plane, bool max) {
  float sum = 0, largest = 0;
  bool first = true;
  for (const Point& point : points) {
    for (size_t k = 0; k < 4; ++k) {
      const float value = point.weight[k] * plane[point.offset[k]];
      sum += value;
      largest = first ? value : std::max(largest, value);
      first = false;
    }
  }
  return max ? largest : sum / static_cast<float>(std::max<size_t>(points.size(), 1));
}

std::vector<Tensor> eval(const Node& node, std::span<const Tensor* const> in) {
  const Tensor x = cast(*in[0], DType::kF32), rois = cast(*in[1], DType::kF32);
  const Shape shape = pooled_shape(node, x.shape(), rois.shape(), in[2]->shape());
  const Pooling pooling = pooling_of(node);
  const std::vector<int64_t> batch = to_int64(*in[2]);
  const int64_t height = x.shape()[2], width = x.shape()[3], channels = shape[1];
  const int64_t bins = pooling.height * pooling.width;
  if (height * width == 0) throw Error(ErrorKind::kInput, "an empty plane has nothing to pool");
  Tensor y = Tensor::uninitialized(DType::kF32, shape);
  float* to = y.mutable_data<float>().data();
  for (size_t r = 0; r < batch.size(); ++r) {
    if (batch[r] < 0 || batch[r] >= x.shape()[0])
      throw Error(ErrorKind::kInput, "batch index " + std::to_string(batch[r]) + " is no image");
    const Region region = region_of(pooling, rois.data<float>().data() + 4 * r);
    const float* image = x.data<float>().data() + batch[r] * channels * height * width;
    for (int64_t bin = 0; bin < bins; ++bin) {
      const std::vector<Point> points =
          points_of(region, bin / pooling.width, bin % pooling.width, height, width);
      for (int64_t c = 0; c < channels; ++c)
        to[c * bins + bin] = pool(points, image + c * height * width, pooling.max);
    }
    to += channels * bins;
  }
  return {cast(y, in[0]->dtype())};
}

}  // namespace

extern const OpDef kRoiAlign;
constinit const OpDef kRoiAlign = {.name = "RoiAlign",
                                   .min_inputs = 3,
                                   .max_inputs = 3,
                                   .infer = infer,
                                   .tie = tie,
                                   .channels = "channels pass through; space stays",
                                   .eval = eval};

}  // namespace pare
