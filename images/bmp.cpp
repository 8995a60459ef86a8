// Uncompressed BMP. No library Debian packages reads BMP alone; the format is a header, a palette
// and rows of pixels.
// https://learn.microsoft.com/windows/win32/gdi/bitmap-storage

#include <algorithm>
#include <array>
#include <bit>
#include <cstdlib>
#include <string>

#include "images/decode.h"
#include "support/error.h"

namespace pare {
namespace {

constexpr size_t kFileHeader = 14;
constexpr uint32_t kCoreHeader = 12;  ///< Of OS/2: 16-bit sides, palettes of three bytes.
constexpr uint32_t kInfoHeader = 40;
constexpr uint32_t kPlain = 0, kMasks = 3, kMasksWithAlpha = 6;  ///< Of the compression field.

[[noreturn]] void fail(const std::string& fact) { throw Error(ErrorKind::kInput, "is a" + fact); }

/// Where the bits of a channel stand in a pixel of 16 or 32.
struct Mask {
  uint32_t bits;

  uint8_t level(uint32_t pixel) const {
    if (bits == 0) return 0;
    const int shift = std::countr_zero(bits);
    const uint64_t largest = bits >> shift;
    return static_cast<uint8_t>(((pixel & bits) >> shift) * uint64_t{255} / largest);
  }
};

class BmpFile {
 public:
  explicit BmpFile(std::span<const std::byte> bytes) : bytes_(bytes) {
    pixels_ = number(10, 4);
    header_ = number(kFileHeader, 4);
    if (header_ == kCoreHeader) {
      width_ = number(18, 2);
      height_ = number(20, 2);
      depth_ = number(24, 2);
      palette_ = kFileHeader + header_;
    } else {
      if (header_ < kInfoHeader)
        fail(" damaged BMP file: its header is " + std::to_string(header_) + " bytes");
      width_ = static_cast<int32_t>(number(18, 4));
      height_ = static_cast<int32_t>(number(22, 4));
      depth_ = number(28, 2);
      compression_ = number(30, 4);
      colours_ = number(46, 4);
      palette_ = kFileHeader + header_;
    }
    check();
  }

  Image decode() const {
    const int64_t rows = std::abs(height_);
    Image image = make_image(rows, width_);
    const size_t stride = (static_cast<size_t>(width_) * depth_ + 31) / 32 * 4;
    if (pixels_ > bytes_.size() || bytes_.size() - pixels_ < stride * static_cast<size_t>(rows))
      fail(" damaged BMP file: it is cut short");
    for (int64_t y = 0; y < rows; ++y) {
      const auto row = static_cast<size_t>(height_ > 0 ? rows - 1 - y : y);  // Bottom up.
      uint8_t* out = image.pixels.data() + y * width_ * kImageChannels;
      decode_row(pixels_ + stride * row, out);
    }
    return image;
  }

 private:
  /// A little-endian number of the file.
  uint32_t number(size_t at, size_t width) const {
    if (at + width > bytes_.size()) fail(" damaged BMP file: it is cut short");
    uint32_t value = 0;
    for (size_t i = 0; i < width; ++i)
      value |= std::to_integer<uint32_t>(bytes_[at + i]) << (8 * i);
    return value;
  }

  void check() {
    if (compression_ != kPlain && compression_ != kMasks && compression_ != kMasksWithAlpha)
      fail(" compressed BMP file, expected an uncompressed one");
    constexpr std::array<uint32_t, 6> kDepths = {1, 4, 8, 16, 24, 32};
    if (std::ranges::find(kDepths, depth_) == kDepths.end())
      fail(" damaged BMP file: it has " + std::to_string(depth_) + " bits a pixel");
    if (depth_ <= 8 && colours_ == 0) colours_ = 1u << depth_;
    if (depth_ == 16) masks_ = {{{0x7c00}, {0x03e0}, {0x001f}}};
    if (depth_ == 32) masks_ = {{{0xff0000}, {0xff00}, {0xff}}};
    if (compression_ != kPlain &&
        depth_ >= 16)  // Behind the header, or where longer ones have them.
      for (size_t c = 0; c < masks_.size(); ++c)
        masks_[c] = {number(kFileHeader + kInfoHeader + 4 * c, 4)};
  }

  void decode_row(size_t at, uint8_t* out) const {
    for (int64_t x = 0; x < width_; ++x, out += kImageChannels) {
      const auto column = static_cast<size_t>(x);
      if (depth_ == 24) {
        for (size_t c = 0; c < 3; ++c) out[c] = byte(at + 3 * column + 2 - c);
      } else if (depth_ > 8) {
        const uint32_t pixel = number(at + column * depth_ / 8, depth_ / 8);
        for (size_t c = 0; c < 3; ++c) out[c] = masks_[c].level(pixel);
      } else {
        const size_t bit = column * depth_;
        const uint32_t shift = static_cast<uint32_t>(8 - depth_ - bit % 8);
        colour((byte(at + bit / 8) >> shift) & ((1u << depth_) - 1), out);
      }
    }
  }

  uint8_t byte(size_t at) const { return std::to_integer<uint8_t>(bytes_[at]); }

  void colour(uint32_t index, uint8_t* out) const {
    if (index >= colours_)
      fail(" damaged BMP file: a pixel has a colour that is not in its palette");
    const size_t entry = palette_ + size_t{index} * (header_ == kCoreHeader ? 3 : 4);
    if (entry + 3 > bytes_.size()) fail(" damaged BMP file: it is cut short");
    for (size_t c = 0; c < 3; ++c) out[c] = byte(entry + 2 - c);
  }

  std::span<const std::byte> bytes_;
  size_t pixels_ = 0, palette_ = 0;
  uint32_t header_ = 0, depth_ = 0, compression_ = kPlain, colours_ = 0;
  int64_t width_ = 0, height_ = 0;  ///< A negative height is top down.
  std::array<Mask, 3> masks_{};
};

}  // namespace

Image decode_bmp(std::span<const std::byte> bytes) { return BmpFile(bytes).decode(); }

}  // namespace pare
