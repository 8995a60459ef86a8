#pragma once

#include <optional>

#include "images/resize.h"

namespace pare {

/// How an image of any size becomes one of the size a network takes.
enum class ResizePolicy : uint8_t {
  kNone,       ///< Not scaled; the middle is cut out.
  kShortSide,  ///< The short side is scaled to a size, then the middle is cut out.
  kStretch,    ///< Scaled to a size without regard to proportions, then the middle is cut out.
  kLetterbox,  ///< Scaled as large as fits, the rest filled with one grey level.
};

struct Extent {
  int64_t height = 0, width = 0;
  bool operator==(const Extent&) const = default;
};

struct FitOptions {
  ResizePolicy resize = ResizePolicy::kShortSide;
  Filter filter = Filter::kBilinear;
  /// What is scaled to, before the middle is cut out; kShortSide takes the smaller of the two.
  /// Absent: the target divided by crop_ratio.
  std::optional<Extent> size;
  double crop_ratio = 1;
  uint8_t fill = 114;  ///< Of kLetterbox.
};

/// Scales and cuts `image` to exactly `target`. Throws Error(kInput) where it is too small to cut
/// `target` out of it, or would grow past kMaxPixels on the way.
Image fit(const Image& image, Extent target, const FitOptions& options);

}  // namespace pare
