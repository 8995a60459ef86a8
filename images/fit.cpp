#include "images/fit.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "support/error.h"

namespace pare {
namespace {

int64_t scaled(int64_t extent, double factor) {
  return std::max<int64_t>(1, std::llround(static_cast<double>(extent) * factor));
}

std::string to_string(Extent extent) {
  return std::to_string(extent.width) + "x" + std::to_string(extent.height);
}

/// Copies `from` into `to` with its corner at (top, left); parts outside are left away.
void place(const Image& from, Image& to, int64_t top, int64_t left) {
  const int64_t first = std::max<int64_t>(0, -left);
  const int64_t last = std::min(from.width, to.width - left);
  if (first >= last) return;
  for (int64_t y = std::max<int64_t>(0, -top); y < std::min(from.height, to.height - top); ++y)
    std::copy_n(from.pixels.begin() + (y * from.width + first) * kImageChannels,
                (last - first) * kImageChannels,
                to.pixels.begin() + ((y + top) * to.width + left + first) * kImageChannels);
}

/// The long side is cut to a whole number, as torchvision's Resize does.
Image short_side(const Image& image, int64_t side, Filter filter) {
  const int64_t shorter = std::min(image.height, image.width);
  const int64_t longer = std::max(image.height, image.width);
  const auto other = static_cast<int64_t>(static_cast<double>(side) * static_cast<double>(longer) /
                                          static_cast<double>(shorter));
  return image.height <= image.width ? resize(image, side, other, filter)
                                     : resize(image, other, side, filter);
}

Image letterbox(const Image& image, Extent size, const FitOptions& options) {
  const double factor =
      std::min(static_cast<double>(size.height) / static_cast<double>(image.height),
               static_cast<double>(size.width) / static_cast<double>(image.width));
  const Image small = resize(image, std::min(size.height, scaled(image.height, factor)),
                             std::min(size.width, scaled(image.width, factor)), options.filter);
  Image result = make_image(size.height, size.width);
  std::ranges::fill(result.pixels, options.fill);
  place(small, result, (size.height - small.height) / 2, (size.width - small.width) / 2);
  return result;
}

/// Half a pixel is rounded to even, as torchvision's CenterCrop does.
Image centre(const Image& image, Extent target) {
  if (image.height == target.height && image.width == target.width) return image;
  if (image.height < target.height || image.width < target.width)
    throw Error(ErrorKind::kInput, "is " + to_string({image.height, image.width}) +
                                       ", too small to cut " + to_string(target) + " out of it");
  Image result = make_image(target.height, target.width);
  place(image, result, -std::lrint(static_cast<double>(image.height - target.height) / 2),
        -std::lrint(static_cast<double>(image.width - target.width) / 2));
  return result;
}

}  // namespace

Image fit(const Image& image, Extent target, const FitOptions& options) {
  const Extent size = options.size.value_or(Extent{scaled(target.height, 1 / options.crop_ratio),
                                                   scaled(target.width, 1 / options.crop_ratio)});
  switch (options.resize) {
    case ResizePolicy::kNone:
      return centre(image, target);
    case ResizePolicy::kShortSide:
      return centre(short_side(image, std::min(size.height, size.width), options.filter), target);
    case ResizePolicy::kStretch:
      return centre(resize(image, size.height, size.width, options.filter), target);
    case ResizePolicy::kLetterbox:
      return centre(letterbox(image, size, options), target);
  }
  PARE_CHECK(false, "resize policy");
}

}  // namespace pare
