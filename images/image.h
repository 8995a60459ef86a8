#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace pare {

/// Eight-bit RGB pixels, row by row, three bytes a pixel.
struct Image {
  int64_t height = 0, width = 0;
  std::vector<uint8_t> pixels;  ///< height * width * 3.
};

constexpr int64_t kImageChannels = 3;

/// No image with more pixels is decoded or made: a file of a few bytes can claim any size.
constexpr int64_t kMaxPixels = 100'000'000;

/// An image of that size, not filled in. Throws Error(kInput) where a side is below 1 or there are
/// more than kMaxPixels.
Image make_image(int64_t height, int64_t width);

}  // namespace pare
