// JPEG by libjpeg-turbo, with its defaults (accurate integer DCT, smooth chroma upsampling), which
// are Pillow's too.

#include <turbojpeg.h>

#include <memory>
#include <string>

#include "images/decode.h"
#include "support/error.h"

namespace pare {
namespace {

using Handle = std::unique_ptr<void, decltype(&tjDestroy)>;

/// Throws unless `code` is success or a warning that says nothing about the pixels.
void check(int code, tjhandle handle) {
  const std::string message = code == 0 ? "" : tjGetErrorStr2(handle);
  if (code == 0 || message.find("extraneous bytes") != std::string::npos) return;
  throw Error(ErrorKind::kInput, "is a damaged JPEG file: " + message);
}

/// Adobe's CMYK is stored inverted, as libjpeg hands it on: 255 is no ink.
Image from_cmyk(const std::vector<uint8_t>& cmyk, Image image) {
  for (size_t i = 0, count = cmyk.size() / 4; i < count; ++i)
    for (size_t c = 0; c < 3; ++c)
      image.pixels[3 * i + c] =
          static_cast<uint8_t>((cmyk[4 * i + c] * cmyk[4 * i + 3] + 127) / 255);
  return image;
}

}  // namespace

Image decode_jpeg(std::span<const std::byte> bytes) {
  const Handle handle(tjInitDecompress(), &tjDestroy);
  PARE_CHECK(handle, "tjInitDecompress");
  const auto* data = reinterpret_cast<const unsigned char*>(bytes.data());
  const auto size = static_cast<unsigned long>(bytes.size());
  int width = 0, height = 0, subsampling = 0, colours = 0;
  check(tjDecompressHeader3(handle.get(), data, size, &width, &height, &subsampling, &colours),
        handle.get());
  if (width < 1 || height < 1)
    throw Error(ErrorKind::kInput, "is a damaged JPEG file: it ends before its size");
  Image image = make_image(height, width);
  const bool cmyk = colours == TJCS_CMYK || colours == TJCS_YCCK;
  std::vector<uint8_t> inks(cmyk ? image.pixels.size() / 3 * 4 : 0);
  unsigned char* target = cmyk ? inks.data() : image.pixels.data();
  check(tjDecompress2(handle.get(), data, size, target, width, 0, height,
                      cmyk ? TJPF_CMYK : TJPF_RGB, 0),
        handle.get());
  return cmyk ? from_cmyk(inks, std::move(image)) : image;
}

}  // namespace pare
