#include "images/image.h"

#include <string>

#include "support/error.h"

namespace pare {

Image make_image(int64_t height, int64_t width) {
  if (height < 1 || width < 1 || height > kMaxPixels / width)
    throw Error(ErrorKind::kInput, "is " + std::to_string(width) + "x" + std::to_string(height) +
                                       ", expected 1 to " + std::to_string(kMaxPixels) + " pixels");
  Image image{.height = height, .width = width, .pixels = {}};
  image.pixels.resize(static_cast<size_t>(height * width * kImageChannels));
  return image;
}

}  // namespace pare
