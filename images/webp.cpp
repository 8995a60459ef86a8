// WebP by libwebp.

#include <webp/decode.h>

#include <string>

#include "images/decode.h"
#include "support/error.h"

namespace pare {

Image decode_webp(std::span<const std::byte> bytes) {
  const auto fail = [](const std::string& fact) { throw Error(ErrorKind::kInput, fact); };
  const auto* data = reinterpret_cast<const uint8_t*>(bytes.data());
  WebPBitstreamFeatures features;
  if (WebPGetFeatures(data, bytes.size(), &features) != VP8_STATUS_OK)
    fail("is a damaged WebP file");
  if (features.has_animation != 0) fail("is an animated WebP file, expected a still image");
  Image image = make_image(features.height, features.width);
  const int stride = features.width * static_cast<int>(kImageChannels);
  if (!WebPDecodeRGBInto(data, bytes.size(), image.pixels.data(), image.pixels.size(), stride))
    fail("is a damaged WebP file");
  return image;
}

}  // namespace pare
