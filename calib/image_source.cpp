#include <algorithm>
#include <atomic>
#include <thread>

#include "calib/sample_source.h"
#include "images/image_set.h"
#include "support/parallel.h"

namespace pare {
namespace {

/// Images kept ready between uses, in bytes; what is beyond is decoded each time.
constexpr size_t kCacheBytes = size_t{512} << 20;

/// What the network takes, as far as images are concerned.
struct Target {
  Extent extent;
  bool channels_last = false;
  bool grey = false;
  bool reversed = false;  ///< Blue, green, red.
  int64_t channels() const { return grey ? 1 : kImageChannels; }
  size_t bytes() const { return static_cast<size_t>(extent.height * extent.width * channels()); }
  bool operator==(const Target&) const = default;
};

/// Images in the network's layout, by index; an empty one is not kept.
struct Cache {
  Target target;
  std::vector<std::vector<uint8_t>> pixels;
};

std::string file_name(std::string path) {
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  return path.substr(path.rfind('/') + 1);
}

/// Brightness as ITU-R BT.601 weighs the colours, in the fixed point Pillow uses.
uint8_t grey_of(const uint8_t* rgb) {
  return static_cast<uint8_t>((rgb[0] * 19595 + rgb[1] * 38470 + rgb[2] * 7471 + 0x8000) >> 16);
}

std::vector<uint8_t> laid_out(const Image& image, const Target& target) {
  std::vector<uint8_t> result(target.bytes());
  const auto area = static_cast<size_t>(image.height * image.width);
  const auto channels = static_cast<size_t>(target.channels());
  const size_t step = target.channels_last ? channels : 1, plane = target.channels_last ? 1 : area;
  for (size_t i = 0; i < area; ++i) {
    const uint8_t* rgb = image.pixels.data() + i * 3;
    if (target.grey) {
      result[i] = grey_of(rgb);
      continue;
    }
    for (size_t c = 0; c < 3; ++c) result[i * step + c * plane] = rgb[target.reversed ? 2 - c : c];
  }
  return result;
}

/// The extent of `axis`; 0 where the model leaves it open.
int64_t fixed_extent(const Value& input, size_t axis) {
  const int64_t extent = input.type.shape[axis];
  const bool open = axis < input.dim_symbols.size() && !input.dim_symbols[axis].empty();
  return extent < 1 || (open && extent == 1) ? 0 : extent;
}

/// [N, H, W, 3] rather than [N, 3, H, W]; three channels speak louder than one.
bool is_channels_last(const Shape& shape) {
  if (shape[1] == kImageChannels || shape[3] == kImageChannels) return shape[1] != kImageChannels;
  return shape[3] == 1 && shape[1] != 1;
}

class ImageSource : public SampleSource {
 public:
  ImageSource(const std::string& path, const Preprocess& preprocess)
      : SampleSource(file_name(path)),
        images_(std::make_shared<ImageSet>(ImageSet::open(path))),
        preprocess_(preprocess) {}

  int64_t size() const override { return static_cast<int64_t>(images_->size()); }
  const std::vector<std::string>& sample_names() const override { return images_->names(); }
  std::vector<int64_t> classes() const override { return images_->folder_classes(); }

  std::vector<std::string> notes() const override {
    size_t count = 0;
    std::string endings;
    for (const auto& [ending, files] : images_->others()) {
      count += files;
      endings += (endings.empty() ? "" : ", ") + ending;
    }
    if (count == 0) return {};
    return {name() + ": " + std::to_string(count) +
            (count == 1 ? " file that is" : " files that are") +
            " no JPEG, PNG, WebP or BMP by name: left out (" + endings + ")"};
  }

  Shape sample_shape(const Graph& graph, size_t) const override {
    const Target target = target_of(graph);
    const auto [height, width] = target.extent;
    return target.channels_last ? Shape{height, width, target.channels()}
                                : Shape{target.channels(), height, width};
  }

  Layout layout(const Graph& graph) const override {
    return target_of(graph).channels_last ? Layout::kNhwc : Layout::kNchw;
  }

  Tensor rows(const Graph& graph, size_t position,
              const std::vector<int64_t>& indices) const override {
    const Target target = target_of(graph);
    Shape shape = sample_shape(graph, position);
    shape.insert(shape.begin(), static_cast<int64_t>(indices.size()));
    Tensor result = Tensor::uninitialized(DType::kU8, std::move(shape));
    const std::span<uint8_t> pixels = result.mutable_data<uint8_t>();
    for (size_t i = 0; i < indices.size(); ++i) {
      const auto index = static_cast<size_t>(indices[i]);
      const auto to = pixels.subspan(i * target.bytes()).begin();
      if (cache_ && cache_->target == target && !cache_->pixels[index].empty()) {
        std::ranges::copy(cache_->pixels[index], to);
      } else {
        std::ranges::copy(read(index, target), to);
      }
    }
    return result;
  }

  /// Decodes every image once, so that a damaged one is known before any work, and keeps the first
  /// ones ready.
  Prepared prepare(const Graph& graph, const std::vector<int64_t>& indices,
                   const PrepareOptions& options) const override {
    auto cache = std::make_shared<Cache>();
    cache->target = target_of(graph);
    cache->pixels.resize(images_->size());
    const auto count = static_cast<int64_t>(indices.size());
    const auto kept = static_cast<int64_t>(kCacheBytes / cache->target.bytes());
    std::vector<std::string> reasons(indices.size());
    std::atomic<int64_t> done{0};
    const std::thread::id starter = std::this_thread::get_id();
    parallel_for(count, options.threads, [&](int64_t i) {
      options.progress.check();
      const auto index = static_cast<size_t>(indices[static_cast<size_t>(i)]);
      try {
        std::vector<uint8_t> pixels = decode(index, cache->target);
        if (i < kept) cache->pixels[index] = std::move(pixels);
      } catch (const Error& error) {
        if (error.kind() != ErrorKind::kInput) throw;
        reasons[static_cast<size_t>(i)] = error.what();
      }
      const int64_t finished = ++done;
      if (std::this_thread::get_id() == starter)
        options.progress.step("reading images", finished, count);
    });
    Prepared prepared;
    for (size_t i = 0; i < reasons.size(); ++i)
      if (!reasons[i].empty()) prepared.bad.push_back({indices[i], reasons[i]});
    auto source = std::make_shared<ImageSource>(*this);
    source->cache_ = std::move(cache);
    prepared.source = std::move(source);
    return prepared;
  }

 private:
  /// Throws Error(kInput) where images cannot feed the model.
  Target target_of(const Graph& graph) const {
    const auto fail = [&](const std::string& fact) {
      throw Error(ErrorKind::kInput, name() + ": holds images, " + fact);
    };
    if (graph.inputs().size() != 1)
      fail("but the model takes " + std::to_string(graph.inputs().size()) +
           " inputs, expected one");
    const Value& input = graph.value(graph.inputs()[0]);
    const Shape& shape = input.type.shape;
    const std::string fact =
        "but the model's input '" + input.name + "' is " + to_string(input.type);
    if (!input.type.ranked || shape.size() != 4) fail(fact + ", expected [N,3,H,W] or [N,H,W,3]");
    Target target;
    target.channels_last = preprocess_.layout == Layout::kNhwc ||
                           (preprocess_.layout == Layout::kAuto && is_channels_last(shape));
    const size_t rows = target.channels_last ? 1 : 2;
    target.extent =
        preprocess_.crop.value_or(Extent{fixed_extent(input, rows), fixed_extent(input, rows + 1)});
    if (target.extent.height < 1 || target.extent.width < 1)
      fail(fact + " with open height or width, expected --crop to say which");
    target.grey =
        preprocess_.channels == ChannelOrder::kGrey ||
        (preprocess_.channels == ChannelOrder::kAuto && shape[target.channels_last ? 3 : 1] == 1);
    target.reversed = preprocess_.channels == ChannelOrder::kBgr;
    return target;
  }

  std::vector<uint8_t> decode(size_t index, const Target& target) const {
    return laid_out(fit(images_->decode(index), target.extent, preprocess_.fit), target);
  }

  std::vector<uint8_t> read(size_t index, const Target& target) const {
    return with_context([&] { return name() + ": " + images_->names()[index]; },
                        [&] { return decode(index, target); });
  }

  std::shared_ptr<const ImageSet> images_;
  Preprocess preprocess_;
  std::shared_ptr<const Cache> cache_;
};

}  // namespace

std::shared_ptr<const SampleSource> make_image_source(const std::string& path,
                                                      const Preprocess& preprocess) {
  return std::make_shared<ImageSource>(path, preprocess);
}

}  // namespace pare
