// fit_images: reads lines "IMAGE POLICY HEIGHT WIDTH FILTER OUT" from standard input and writes
// each image, scaled and cut to HEIGHT x WIDTH, as .npy [H, W, 3]. For pillow_test.py.

#include <array>
#include <iostream>
#include <string>

#include "calib/npy.h"
#include "images/decode.h"
#include "images/fit.h"
#include "support/file.h"

int main() {
  using namespace pare;  // A program of its own.
  constexpr std::array<std::pair<std::string_view, ResizePolicy>, 4> kPolicies = {
      {{"none", ResizePolicy::kNone},
       {"short-side", ResizePolicy::kShortSide},
       {"stretch", ResizePolicy::kStretch},
       {"letterbox", ResizePolicy::kLetterbox}}};
  std::string path, policy, filter, out;
  Extent target;
  while (std::cin >> path >> policy >> target.height >> target.width >> filter >> out) {
    FitOptions options{.filter = filter == "bicubic" ? Filter::kBicubic : Filter::kBilinear};
    for (const auto& [name, value] : kPolicies)
      if (name == policy) options.resize = value;
    try {
      Image image = decode_image(MappedFile::open(path)->bytes());
      if (target.height > 0) image = fit(image, target, options);
      write_npy(out, Tensor({image.height, image.width, 3}, image.pixels));
    } catch (const Error& error) {
      std::cerr << path << ": " << error.what() << "\n";
      return 1;
    }
  }
  return 0;
}
