#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "images/fit.h"
#include "tensor/tensor.h"

namespace pare {

/// Which channels an image has for the network, in order.
enum class ChannelOrder : uint8_t {
  kAuto,  ///< Red, green, blue; grey for a network that takes one channel.
  kRgb,
  kBgr,
  kGrey,
};

enum class Layout : uint8_t {
  kAuto,  ///< Of images: what the model's input looks like. Of arrays: channels first.
  kNchw,
  kNhwc,
};

/// What is done to every sample. Images are scaled, cut and laid out; then, as for arrays,
/// y = (x * scale - mean) / std by channel.
struct Preprocess {
  double scale = 1;
  std::vector<double> mean = {};  ///< Empty for none; one number for all channels, or one each.
  std::vector<double> std = {};

  // Of images only:
  FitOptions fit = {};
  std::optional<Extent> crop = {};  ///< Absent: height and width of the model's input.
  ChannelOrder channels = ChannelOrder::kAuto;
  Layout layout = Layout::kAuto;
  int64_t minimum = 1;  ///< Fewer readable images are an error.

  /// True where numbers stay as they are.
  bool identity() const { return scale == 1 && mean.empty() && std.empty(); }
};

/// The axis of a sample's channels, without the batch.
size_t channel_axis(const Shape& sample, Layout layout);

/// Throws Error(kUsage) where mean or std has another number of channels than `sample`; `name` is
/// the data's.
void check_channels(const std::string& name, const Preprocess& preprocess, const Shape& sample,
                    Layout layout);

/// (x * scale - mean) / std of a batch [N, ...], as `dtype`; rounded and saturated where that is an
/// integer.
Tensor normalized(const Tensor& batch, const Preprocess& preprocess, Layout layout, DType dtype);

}  // namespace pare
