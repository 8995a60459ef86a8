#pragma once

#include "images/image.h"

namespace pare {

enum class Filter : uint8_t { kBilinear, kBicubic };

/// Scales an image to `height` x `width` as Pillow's Image.resize() does: every target pixel is the
/// weighted mean of the source pixels under the filter, which is stretched when an image shrinks
/// (antialiasing); columns first, then rows, rounded to whole grey levels in between. Bicubic is
/// Keys' kernel with a = -0.5. Within one grey level of Pillow (tests/images). Throws Error(kInput)
/// where the target has more than kMaxPixels.
///
/// Source: R. Keys, Cubic Convolution Interpolation for Digital Image Processing, IEEE Trans. ASSP
/// 29(6), 1981.
Image resize(const Image& image, int64_t height, int64_t width, Filter filter);

}  // namespace pare
