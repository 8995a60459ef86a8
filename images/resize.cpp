#include "images/resize.h"

#include <algorithm>
#include <cmath>

namespace pare {
namespace {

/// Weights are whole multiples of 2^-22, as in Pillow: sums are then exact, and the same on every
/// machine. 8 bits of a level and 2 of headroom are left in 32.
constexpr int kWeightBits = 22;
constexpr int32_t kHalf = 1 << (kWeightBits - 1);

/// The source pixels that make one target pixel, and their weights (sum 2^22).
struct Taps {
  int64_t first = 0;
  std::vector<int32_t> weights;
};

double bilinear(double x) { return std::max(0.0, 1 - std::abs(x)); }

double bicubic(double x) {
  constexpr double kA = -0.5;
  x = std::abs(x);
  if (x < 1) return ((kA + 2) * x - (kA + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * kA;
  return 0;
}

/// Taps of every target pixel along one axis; pixel centres are at half positions.
std::vector<Taps> make_taps(int64_t source, int64_t target, Filter filter) {
  const double scale = static_cast<double>(source) / static_cast<double>(target);
  const double stretch = std::max(scale, 1.0);
  const double support = (filter == Filter::kBilinear ? 1 : 2) * stretch;
  std::vector<Taps> all(static_cast<size_t>(target));
  std::vector<double> weights;
  for (int64_t i = 0; i < target; ++i) {
    const double centre = (static_cast<double>(i) + 0.5) * scale;
    const auto first =
        std::max<int64_t>(0, static_cast<int64_t>(std::floor(centre - support + 0.5)));
    const auto last = std::min(source, static_cast<int64_t>(std::floor(centre + support + 0.5)));
    double sum = 0;
    weights.clear();
    for (int64_t k = first; k < last; ++k) {
      const double x = (static_cast<double>(k) - centre + 0.5) / stretch;
      weights.push_back(filter == Filter::kBilinear ? bilinear(x) : bicubic(x));
      sum += weights.back();
    }
    Taps& taps = all[static_cast<size_t>(i)];
    taps.first = first;
    for (const double weight : weights)
      taps.weights.push_back(static_cast<int32_t>(std::lround(weight / sum * (1 << kWeightBits))));
  }
  return all;
}

uint8_t level(int32_t sum) { return static_cast<uint8_t>(std::clamp(sum >> kWeightBits, 0, 255)); }

/// Every row of `image` scaled to `width`.
Image resize_columns(const Image& image, int64_t width, Filter filter) {
  Image result = make_image(image.height, width);  // First: it refuses what is too large.
  const std::vector<Taps> all = make_taps(image.width, width, filter);
  uint8_t* to = result.pixels.data();
  for (int64_t y = 0; y < image.height; ++y) {
    const uint8_t* row = image.pixels.data() + y * image.width * kImageChannels;
    for (const Taps& taps : all) {
      const uint8_t* from = row + taps.first * kImageChannels;
      int32_t r = kHalf, g = kHalf, b = kHalf;
      for (const int32_t weight : taps.weights) {
        r += weight * from[0];
        g += weight * from[1];
        b += weight * from[2];
        from += kImageChannels;
      }
      *to++ = level(r);
      *to++ = level(g);
      *to++ = level(b);
    }
  }
  return result;
}

/// Every column of `image` scaled to `height`.
Image resize_rows(const Image& image, int64_t height, Filter filter) {
  Image result = make_image(height, image.width);
  const std::vector<Taps> all = make_taps(image.height, height, filter);
  const auto stride = static_cast<size_t>(image.width * kImageChannels);
  std::vector<int32_t> sums(stride);
  uint8_t* to = result.pixels.data();
  for (const Taps& taps : all) {
    std::ranges::fill(sums, kHalf);
    const uint8_t* from = image.pixels.data() + static_cast<size_t>(taps.first) * stride;
    for (const int32_t weight : taps.weights) {
      for (size_t i = 0; i < stride; ++i) sums[i] += weight * from[i];
      from += stride;
    }
    for (size_t i = 0; i < stride; ++i) *to++ = level(sums[i]);
  }
  return result;
}

}  // namespace

Image resize(const Image& image, int64_t height, int64_t width, Filter filter) {
  if (width == image.width)
    return height == image.height ? image : resize_rows(image, height, filter);
  Image wide = resize_columns(image, width, filter);
  return height == image.height ? wide : resize_rows(wide, height, filter);
}

}  // namespace pare
