#pragma once

#include <span>
#include <string_view>

#include "images/image.h"

namespace pare {

/// Decodes a JPEG, PNG, WebP or uncompressed BMP file, told apart by its first bytes, to RGB.
///
/// Greyscale is spread to three channels, transparency is dropped, 16 bits become 8, and CMYK is
/// converted without a profile: what `Image.open(f).convert("RGB")` of Pillow does. Orientation
/// tags are not followed, as there. Throws Error(kInput) with the reason alone (the caller adds the
/// file) where the bytes are none of these, damaged, cut short, or larger than kMaxPixels.
Image decode_image(std::span<const std::byte> bytes);

/// True for a file name that decode_image() is meant for: .jpg, .jpeg, .png, .webp, .bmp in any
/// case.
bool has_image_name(std::string_view name);

// -- Inside this folder: one a format -----------------------------------------------------------

Image decode_bmp(std::span<const std::byte> bytes);
Image decode_jpeg(std::span<const std::byte> bytes);
Image decode_png(std::span<const std::byte> bytes);
Image decode_webp(std::span<const std::byte> bytes);

}  // namespace pare
