// PNG by libpng's simplified interface.

#include <png.h>

#include <memory>
#include <string>

#include "images/decode.h"
#include "support/error.h"

namespace pare {
namespace {

using Reader = std::unique_ptr<png_image, decltype(&png_image_free)>;

void check(const png_image& png) {
  if (png.warning_or_error & PNG_IMAGE_ERROR)
    throw Error(ErrorKind::kInput, std::string("is a damaged PNG file: ") + png.message);
}

}  // namespace

Image decode_png(std::span<const std::byte> bytes) {
  png_image png{};
  png.version = PNG_IMAGE_VERSION;
  const Reader guard(&png, &png_image_free);
  png_image_begin_read_from_memory(&png, bytes.data(), bytes.size());
  check(png);
  Image image = make_image(png.height, png.width);
  const bool transparent = (png.format & PNG_FORMAT_FLAG_ALPHA) != 0;
  // 16-bit pixels are taken as what they are nearly always: encoded like 8-bit ones.
  png.flags |= PNG_IMAGE_FLAG_16BIT_sRGB;
  png.format = transparent ? PNG_FORMAT_RGBA : PNG_FORMAT_RGB;
  std::vector<uint8_t> layered(transparent ? PNG_IMAGE_SIZE(png) : 0);
  png_image_finish_read(&png, nullptr, transparent ? layered.data() : image.pixels.data(), 0,
                        nullptr);
  check(png);
  for (size_t i = 0, count = layered.size() / 4; i < count; ++i)
    for (size_t c = 0; c < 3; ++c) image.pixels[3 * i + c] = layered[4 * i + c];
  return image;
}

}  // namespace pare
