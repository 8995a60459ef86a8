#include "passes/quantize_int8_scales.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "calib/rounding.h"

namespace pare {
namespace {

/// Half of what an int32 holds: the other half is for the sum of products.
constexpr double kLargestBias = 1 << 30;

struct Levels {
  int32_t low, high, middle;
};

Levels levels_of(DType dtype) {
  PARE_CHECK(is_integer(dtype) && bit_width(dtype) <= 16, "activations have 8 or 16 bits");
  const int32_t half = int32_t{1} << (bit_width(dtype) - 1);
  const bool is_signed = dtype == DType::kI8 || dtype == DType::kI16;
  return is_signed ? Levels{-half, half - 1, 0} : Levels{0, 2 * half - 1, half};
}

/// Subnormal scales are flushed to zero by some runtimes.
bool is_usable(double scale) { return scale >= std::numeric_limits<float>::min(); }

/// Index of the channel of element `i`.
class ChannelOf {
 public:
  ChannelOf(const Shape& shape, int axis) {
    if (axis < 0) return;
    extent_ = static_cast<size_t>(shape[static_cast<size_t>(axis)]);
    for (size_t a = static_cast<size_t>(axis) + 1; a < shape.size(); ++a)
      inner_ *= static_cast<size_t>(shape[a]);
  }
  size_t extent() const { return extent_; }
  size_t operator()(size_t i) const { return i / inner_ % extent_; }

 private:
  size_t extent_ = 1, inner_ = 1;
};

}  // namespace

ActivationCode activation_code(Range range, DType dtype, bool symmetric) {
  const Levels levels = levels_of(dtype);
  const double low = std::min(range.low, 0.0f), high = std::max(range.high, 0.0f);
  const double reach = std::max(-low, high);
  const double scale =
      symmetric ? reach / (levels.high - levels.middle) : (high - low) / (levels.high - levels.low);
  if (!is_usable(scale)) return {dtype, 1.0f, symmetric ? levels.middle : levels.low};  // All zero.
  ActivationCode code{dtype, static_cast<float>(scale), levels.middle};
  if (symmetric) return code;
  code.zero_point = std::clamp(static_cast<int32_t>(std::nearbyint(levels.low - low / scale)),
                               levels.low, levels.high);
  const auto exceeds = [&](int32_t level, double bound) {
    return std::abs(code.scale * static_cast<float>(level - code.zero_point)) > std::abs(bound);
  };
  while ((low == 0 && exceeds(levels.high, high)) || (high == 0 && exceeds(levels.low, low)))
    code.scale = std::nextafter(code.scale, 0.0f);
  return code;
}

Tensor encode(const Tensor& tensor, const ActivationCode& code) {
  const Levels levels = levels_of(code.dtype);
  const std::span<const float> from = tensor.data<float>();
  Tensor result = Tensor::uninitialized(code.dtype, tensor.shape());
  visit_dtype(code.dtype, [&]<typename T>() {
    const std::span<T> to = result.mutable_data<T>();
    if constexpr (std::is_integral_v<T> && sizeof(T) <= 2 && !std::is_same_v<T, bool>) {
      for (size_t i = 0; i < from.size(); ++i) {
        const float q = std::nearbyint(from[i] / code.scale) + static_cast<float>(code.zero_point);
        to[i] = static_cast<T>(
            std::clamp(q, static_cast<float>(levels.low), static_cast<float>(levels.high)));
      }
    }
  });
  return result;
}

WeightSteps weight_steps(int bits, bool reduced) {
  PARE_CHECK(bits >= 2 && bits <= 8, "weights have two to eight bits");
  if (bits == 8) return reduced ? WeightSteps{8, -64, 64} : WeightSteps{};
  const int half = 1 << (bits - 1);
  return {bits, -half, half - 1};
}

WeightCode weight_code(const Tensor& weight, int axis, WeightSteps steps) {
  const ChannelOf channel(weight.shape(), axis);
  const std::span<const float> elements = weight.data<float>();
  const auto channels = static_cast<int64_t>(channel.extent());
  if (elements.empty()) return {axis, std::vector<float>(channel.extent(), 1.0f), steps};
  Matrix columns(static_cast<int64_t>(elements.size()) / channels, channels);
  std::vector<int64_t> filled(channel.extent(), 0);
  for (size_t i = 0; i < elements.size(); ++i) {
    const size_t c = channel(i);
    columns.row(filled[c]++)[c] = static_cast<double>(elements[i]);
  }
  WeightCode code{axis, {}, steps};
  for (const double scale : least_squares_scales(columns, {}, steps.lowest, steps.highest))
    code.scales.push_back(static_cast<float>(scale));
  return code;
}

bool make_room_for_bias(WeightCode& code, const std::vector<double>& bias, double x_scale) {
  bool changed = false;
  for (size_t i = 0; i < bias.size(); ++i) {
    float& scale = code.scales[i % code.scales.size()];
    const auto needed = static_cast<float>(std::abs(bias[i]) / (x_scale * kLargestBias));
    if (!(needed > scale)) continue;
    scale = needed;
    changed = true;
  }
  return changed;
}

Tensor encode(const Tensor& weight, const WeightCode& code) {
  const ChannelOf channel(weight.shape(), code.axis);
  const std::span<const float> from = weight.data<float>();
  Tensor result = Tensor::uninitialized(DType::kI8, weight.shape());
  const std::span<int8_t> to = result.mutable_data<int8_t>();
  const auto lowest = static_cast<float>(code.steps.lowest);
  const auto highest = static_cast<float>(code.steps.highest);
  for (size_t i = 0; i < from.size(); ++i) {
    const float q = std::nearbyint(from[i] / code.scales[channel(i)]);
    to[i] = static_cast<int8_t>(std::clamp(q, lowest, highest));
  }
  return result;
}

Tensor encode_bias(const std::vector<double>& bias, const std::vector<float>& scales) {
  std::vector<int32_t> codes;
  for (size_t i = 0; i < bias.size(); ++i) {
    const double q = std::nearbyint(bias[i] / static_cast<double>(scales[i % scales.size()]));
    codes.push_back(static_cast<int32_t>(std::clamp(q, -2147483648.0, 2147483647.0)));
  }
  return Tensor({static_cast<int64_t>(codes.size())}, codes);
}

}  // namespace pare
