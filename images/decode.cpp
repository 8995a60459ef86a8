#include "images/decode.h"

#include <algorithm>
#include <array>
#include <string>

#include "support/error.h"

namespace pare {
namespace {

struct Format {
  std::string_view magic;
  size_t at;  ///< Where the magic stands.
  Image (*decode)(std::span<const std::byte>);
};

constexpr std::array<Format, 4> kFormats = {{
    {"\xff\xd8\xff", 0, decode_jpeg},
    {"\x89PNG\r\n\x1a\n", 0, decode_png},
    {"WEBP", 8, decode_webp},
    {"BM", 0, decode_bmp},
}};

constexpr std::array<std::string_view, 6> kEndings = {".jpg", ".jpeg", ".jpe",
                                                      ".png", ".webp", ".bmp"};

}  // namespace

Image decode_image(std::span<const std::byte> bytes) {
  if (bytes.empty()) throw Error(ErrorKind::kInput, "is empty");
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  for (const Format& format : kFormats)
    if (text.size() > format.at && text.substr(format.at).starts_with(format.magic))
      return format.decode(bytes);
  throw Error(ErrorKind::kInput, "is no JPEG, PNG, WebP or BMP file");
}

bool has_image_name(std::string_view name) {
  std::string lower(name);
  std::ranges::transform(lower, lower.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return std::ranges::any_of(kEndings,
                             [&](std::string_view ending) { return lower.ends_with(ending); });
}

}  // namespace pare
