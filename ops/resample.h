#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ir/graph.h"

namespace pare {

/// How Resize computes one axis.
struct AxisScale {
  int64_t in = 1, out = 1;
  float scale = 1;                   ///< out / in, or as the model gives it.
  float roi_start = 0, roi_end = 1;  ///< Of tf_crop_and_resize, in units of the extent.
  bool listed = true;                ///< The node speaks of this axis.
};

/// The attributes of Resize that say how coordinates and weights are made.
struct Sampling {
  std::string mode = "nearest";  ///< nearest, linear, cubic.
  std::string coordinates = "half_pixel";
  std::string rounding = "round_prefer_floor";  ///< nearest_mode; "simple" before opset 11.
  float cubic_a = -0.75f;
  float extrapolation = 0;
  bool exclude_outside = false;
  bool antialias = false;
};

/// Resizes each axis of `x` in turn. Elements are computed in float (double for double) and
/// converted back at the end, as integers by truncation. Throws Error(kInput) for a mode that does
/// not exist. https://onnx.ai/onnx/operators/onnx__Resize.html
Tensor resample(const Tensor& x, const std::vector<AxisScale>& axes, const Sampling& sampling);

}  // namespace pare
