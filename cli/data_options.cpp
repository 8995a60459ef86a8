#include "cli/data_options.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "config/suggest.h"

namespace pare {
namespace {

constexpr std::array<DataKey, 13> kKeys = {{
    {"preset", "imagenet | imagenet-tf | caffe | coco | cifar10",
     "What a family of networks takes; other options change parts of it"},
    {"resize", "none | short-side | stretch | letterbox",
     "How an image is scaled to the network's height and width"},
    {"size", "text", "What is scaled to before the middle is cut out: N or HxW"},
    {"crop-ratio", "number", "Or the share of the scaled image's side that is cut out, 0.875"},
    {"crop", "text", "Height and width cut out: N or HxW (default: the model's)"},
    {"filter", "bilinear | bicubic", "Scaling filter, antialiased as in Pillow"},
    {"fill", "integer", "Grey level around a letterboxed image"},
    {"channels", "auto | rgb | bgr | grey", "Order of an image's channels"},
    {"layout", "auto | nchw | nhwc", "Where the channels are; auto: by the model's input"},
    {"scale", "number", "Samples become (x * scale - mean) / std"},
    {"mean", "numbers", "One number, or one a channel: a,b,c"},
    {"std", "numbers", "One number, or one a channel: a,b,c"},
    {"min-images", "integer", "Fewer readable samples are an error"},
}};

constexpr double kByte = 1.0 / 255;
constexpr int64_t kMaxSide = 1 << 20;

/// Torchvision's classifiers, and timm's at their 0.875.
Preprocess imagenet() {
  return {.scale = kByte,
          .mean = {0.485, 0.456, 0.406},
          .std = {0.229, 0.224, 0.225},
          .fit = {.crop_ratio = 0.875}};
}

/// TensorFlow's Inception preprocessing: [-1, 1].
Preprocess imagenet_tf() { return {.scale = 1 / 127.5, .mean = {1}, .fit = {.crop_ratio = 0.875}}; }

/// Caffe's reference networks: 256x256 whatever the proportions, the mean of each channel taken
/// off, blue first.
Preprocess caffe() {
  return {.mean = {104, 117, 123},
          .fit = {.resize = ResizePolicy::kStretch, .size = Extent{256, 256}},
          .channels = ChannelOrder::kBgr};
}

/// The YOLO family: [0, 1], letterboxed on grey.
Preprocess coco() { return {.scale = kByte, .fit = {.resize = ResizePolicy::kLetterbox}}; }

/// Mean and deviation of CIFAR-10's training images.
Preprocess cifar10() {
  return {.scale = kByte,
          .mean = {0.4914, 0.4822, 0.4465},
          .std = {0.2470, 0.2435, 0.2616},
          .fit = {.resize = ResizePolicy::kStretch}};
}

template <typename T>
struct Choice {
  const char* name;
  T value;
};

constexpr std::array<Choice<Preprocess (*)()>, 5> kPresets = {{{"imagenet", imagenet},
                                                               {"imagenet-tf", imagenet_tf},
                                                               {"caffe", caffe},
                                                               {"coco", coco},
                                                               {"cifar10", cifar10}}};
constexpr std::array<Choice<ResizePolicy>, 4> kPolicies = {
    {{"none", ResizePolicy::kNone},
     {"short-side", ResizePolicy::kShortSide},
     {"stretch", ResizePolicy::kStretch},
     {"letterbox", ResizePolicy::kLetterbox}}};
constexpr std::array<Choice<Filter>, 2> kFilters = {
    {{"bilinear", Filter::kBilinear}, {"bicubic", Filter::kBicubic}}};
constexpr std::array<Choice<ChannelOrder>, 4> kChannels = {{{"auto", ChannelOrder::kAuto},
                                                            {"rgb", ChannelOrder::kRgb},
                                                            {"bgr", ChannelOrder::kBgr},
                                                            {"grey", ChannelOrder::kGrey}}};
constexpr std::array<Choice<Layout>, 3> kLayouts = {
    {{"auto", Layout::kAuto}, {"nchw", Layout::kNchw}, {"nhwc", Layout::kNhwc}}};

/// Sets `target` to what the word under `key` stands for, where it is written.
template <typename T, size_t kCount>
void choose(Options& options, const std::string& key, const std::array<Choice<T>, kCount>& choices,
            T& target) {
  std::vector<std::string> names;
  for (const Choice<T>& choice : choices) names.emplace_back(choice.name);
  const std::string word = options.text(key, "");
  if (word.empty() && !options.has(key)) return;
  const auto found = std::ranges::find(names, word);
  if (found == names.end()) {
    const std::string hint = suggestion(word, names);
    options.fail(key, key + " is '" + word + "'" +
                          (hint.empty() ? ", expected one of " + joined(names) : hint));
  }
  target = choices[static_cast<size_t>(found - names.begin())].value;
}

/// "224" or "240x320", height first.
void read_extent(Options& options, const std::string& key, std::optional<Extent>& extent) {
  const std::string text = options.text(key, "");
  if (text.empty() && !options.has(key)) return;
  const size_t cross = std::min(text.find('x'), text.size());
  const auto side = [&](size_t begin, size_t end) {
    int64_t number = 0;
    const auto [stop, failure] = std::from_chars(text.data() + begin, text.data() + end, number);
    if (failure != std::errc() || stop != text.data() + end || number < 1 || number > kMaxSide)
      options.fail(key, key + " is '" + text + "', expected pixels as in 224 or, HxW, 240x320");
    return number;
  };
  const int64_t height = side(0, cross);
  extent = Extent{height, cross == text.size() ? height : side(cross + 1, text.size())};
}

/// A list, or words with commas between them.
void read_numbers(Options& options, const std::string& key, std::vector<double>& numbers) {
  if (!options.has(key)) return;
  numbers.clear();
  for (const std::string& item : options.list(key)) {
    for (size_t begin = 0; begin <= item.size();) {
      const size_t comma = std::min(item.find(',', begin), item.size());
      const std::string word = item.substr(begin, comma - begin);
      double number = 0;
      const auto [stop, failure] = std::from_chars(word.data(), word.data() + word.size(), number);
      if (failure != std::errc() || stop != word.data() + word.size() || !std::isfinite(number))
        options.fail(key, key + ": '" + word + "' is no number, expected a list like 0.5,0.5,0.5");
      numbers.push_back(number);
      begin = comma + 1;
    }
  }
}

}  // namespace

std::span<const DataKey> data_keys() { return kKeys; }

Preprocess read_preprocess(Options& options, const Preprocess& base) {
  constexpr double kHuge = 1e30;
  Preprocess preprocess = base;
  Preprocess (*preset)() = nullptr;
  choose(options, "preset", kPresets, preset);
  if (preset) preprocess = preset();
  FitOptions& fit = preprocess.fit;
  choose(options, "resize", kPolicies, fit.resize);
  read_extent(options, "size", fit.size);
  fit.crop_ratio = options.number("crop-ratio", fit.crop_ratio, 0.01, 1);
  read_extent(options, "crop", preprocess.crop);
  choose(options, "filter", kFilters, fit.filter);
  fit.fill = static_cast<uint8_t>(options.integer("fill", fit.fill, 0, 255));
  choose(options, "channels", kChannels, preprocess.channels);
  choose(options, "layout", kLayouts, preprocess.layout);
  preprocess.scale = options.number("scale", preprocess.scale, -kHuge, kHuge);
  read_numbers(options, "mean", preprocess.mean);
  read_numbers(options, "std", preprocess.std);
  if (std::ranges::find(preprocess.std, 0.0) != preprocess.std.end())
    options.fail("std", "std: 0 cannot be divided by");
  preprocess.minimum = options.integer("min-images", preprocess.minimum, 1, INT64_MAX);
  options.finish();
  return preprocess;
}

}  // namespace pare
