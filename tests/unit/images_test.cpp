#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "calib/dataset.h"
#include "error_message.h"
#include "images/decode.h"
#include "images/fit.h"
#include "images/image_set.h"
#include "ops/ops.h"

namespace pare {
namespace {

namespace fs = std::filesystem;

/// A 2x1 picture, written by hand: PNG, red and (0, 0, 128).
const std::string& red_and_blue() {
  static const std::string kPng(
      "\211\120\116\107\015\012\032\012\000\000\000\015\111\110\104\122"
      "\000\000\000\002\000\000\000\001\010\002\000\000\000\173\100\350"
      "\335\000\000\000\015\111\104\101\124\170\234\143\370\317\000\004"
      "\015\000\006\201\001\200\037\350\165\204\000\000\000\000\111\105"
      "\116\104\256\102\140\202",
      70);
  return kPng;
}

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

/// A picture of one colour, or a ramp of columns.
Image ramp(int64_t height, int64_t width) {
  Image image = make_image(height, width);
  for (int64_t y = 0; y < height; ++y)
    for (int64_t x = 0; x < width; ++x)
      for (int64_t c = 0; c < 3; ++c)
        image.pixels[static_cast<size_t>((y * width + x) * 3 + c)] =
            static_cast<uint8_t>(10 * x + 40 * c);
  return image;
}

/// A folder of its own for each test, removed afterwards.
class ImageFiles : public testing::Test {
 protected:
  void SetUp() override {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::temp_directory_path() /
              ("pare_" + std::string(info->name()) + std::to_string(::getpid()));
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  void write(const std::string& name, const std::string& content = red_and_blue()) const {
    fs::create_directories((folder_ / name).parent_path());
    std::ofstream(folder_ / name, std::ios::binary) << content;
  }

  Dataset open(const Graph& graph, const Preprocess& preprocess = {}, int64_t limit = 0) const {
    Dataset data = Dataset::open(folder_.string(), preprocess);
    data.prepare(graph, {.threads = 2, .limit = limit});
    return data;
  }

  fs::path folder_;
};

Graph network(Shape shape, std::vector<std::string> symbols = {}) {
  Graph graph(onnx_ops());
  const ValueId x = graph.add_input("x", {DType::kF32, std::move(shape)}, std::move(symbols));
  graph.set_outputs({graph.add_node("Relu", {x}, {}, "act")});
  return graph;
}

std::vector<float> floats(const Tensor& tensor) {
  return {tensor.data<float>().begin(), tensor.data<float>().end()};
}

TEST(DecodeImage, SaysWhatIsWrongWithTheBytes) {
  const auto reason = [](const std::string& text) {
    return message([&] { decode_image(bytes_of(text)); });
  };
  EXPECT_EQ(reason(""), "is empty");
  EXPECT_EQ(reason("II*"), "is no JPEG, PNG, WebP or BMP file");
  EXPECT_EQ(reason("BM this is a bitmap"), "is a damaged BMP file: it is cut short");
  EXPECT_TRUE(reason(red_and_blue().substr(0, 50)).starts_with("is a damaged PNG file: "));
  EXPECT_EQ(reason("\xff\xd8\xff\xe0 no more"), "is a damaged JPEG file: it ends before its size");
  EXPECT_EQ(reason("RIFF1234WEBPVP8 "), "is a damaged WebP file");
}

/// A BMP file: file header, 40-byte header, then `rest` (a palette and rows).
std::string bmp(int32_t width, int32_t height, int32_t depth, int32_t compression,
                const std::string& palette, const std::string& rows) {
  const auto little = [](int64_t number, int bytes) {
    std::string text;
    for (int i = 0; i < bytes; ++i, number >>= 8) text += static_cast<char>(number);
    return text;
  };
  const auto begin = static_cast<int64_t>(54 + palette.size());
  return "BM" + little(0, 8) + little(begin, 4) + little(40, 4) + little(width, 4) +
         little(height, 4) + little(1, 2) + little(depth, 2) + little(compression, 4) +
         little(0, 12) + little(static_cast<int64_t>(palette.size() / 4), 4) + little(0, 4) +
         palette + rows;
}

TEST(DecodeImage, ReadsBmpBottomUpTopDownAndByPalette) {
  using Bytes = std::vector<uint8_t>;
  const std::string rows("\x01\x02\x03\0\x04\x05\x06\0", 8);
  EXPECT_EQ(decode_image(bytes_of(bmp(1, 2, 24, 0, "", rows))).pixels, (Bytes{6, 5, 4, 3, 2, 1}));
  EXPECT_EQ(decode_image(bytes_of(bmp(1, -2, 24, 0, "", rows))).pixels, (Bytes{3, 2, 1, 6, 5, 4}));
  const std::string palette("\x07\x08\x09\0\x0a\x0b\x0c\0", 8);
  EXPECT_EQ(decode_image(bytes_of(bmp(3, 1, 4, 0, palette, std::string("\x10\x10\0\0", 4)))).pixels,
            (Bytes{12, 11, 10, 9, 8, 7, 12, 11, 10}));
  EXPECT_EQ(decode_image(bytes_of(bmp(1, 1, 16, 0, "", std::string("\x1f\x7c\0\0", 4)))).pixels,
            (Bytes{255, 0, 255}))
      << "five bits a channel";
}

TEST(DecodeImage, RefusesABmpThatIsNotWhatItSays) {
  const auto reason = [](const std::string& file) {
    return message([&] { decode_image(bytes_of(file)); });
  };
  const std::string palette(8, '\0');
  EXPECT_EQ(reason(bmp(1, 1, 8, 0, palette, std::string("\x02\0\0\0", 4))),
            "is a damaged BMP file: a pixel has a colour that is not in its palette");
  EXPECT_EQ(reason(bmp(2, 2, 24, 0, "", "short")), "is a damaged BMP file: it is cut short");
  EXPECT_EQ(reason(bmp(2, 2, 8, 1, palette, "")),
            "is a compressed BMP file, expected an uncompressed one");
  EXPECT_EQ(reason(bmp(1, 1, 7, 0, "", "")), "is a damaged BMP file: it has 7 bits a pixel");
  EXPECT_EQ(reason(bmp(1 << 20, 1 << 20, 24, 0, "", "")),
            "is 1048576x1048576, expected 1 to 100000000 pixels");
  EXPECT_EQ(reason(bmp(-1, 1, 24, 0, "", "")), "is -1x1, expected 1 to 100000000 pixels");
}

TEST(DecodeImage, ClaimsOfHugeSizeAreRefusedBeforeMemoryIsTaken) {
  std::string huge = red_and_blue();
  huge.replace(16, 8, std::string("\x7f\xff\xff\xff\x7f\xff\xff\xff", 8));
  EXPECT_NE(message([&] { decode_image(bytes_of(huge)); }), "no error");
  EXPECT_EQ(message([&] { make_image(1 << 20, 1 << 20); }),
            "is 1048576x1048576, expected 1 to 100000000 pixels");
}

TEST(Fit, CutsTheMiddleOut) {
  const Image middle = fit(ramp(2, 6), {2, 2}, {.resize = ResizePolicy::kNone});
  EXPECT_EQ(middle.pixels,
            (std::vector<uint8_t>{20, 60, 100, 30, 70, 110, 20, 60, 100, 30, 70, 110}));
  EXPECT_EQ(message([&] {
              fit(ramp(2, 6), {4, 4}, {.resize = ResizePolicy::kNone});
            }),
            "is 6x2, too small to cut 4x4 out of it");
}

TEST(Fit, ShortSideKeepsProportionsAndCropRatioLeavesABorder) {
  const Image all = fit(ramp(4, 8), {2, 2}, {});  // Scaled to 2x4, the middle 2x2 kept.
  const Image wide = resize(ramp(4, 8), 2, 4, Filter::kBilinear);
  EXPECT_EQ(all.pixels[0], wide.pixels[3]);
  const Image inner = fit(ramp(4, 8), {2, 2}, {.crop_ratio = 0.5});  // Not scaled at all.
  EXPECT_EQ(inner.pixels[0], 30);
}

TEST(Fit, LetterboxFillsWhatIsLeft) {
  const Image boxed = fit(ramp(2, 4), {4, 4}, {.resize = ResizePolicy::kLetterbox, .fill = 7});
  EXPECT_EQ(boxed.pixels[0], 7);
  EXPECT_EQ(boxed.pixels[1 * 4 * 3], 0);
  EXPECT_EQ(boxed.pixels[1 * 4 * 3 + 9], 30);
  EXPECT_EQ(boxed.pixels[3 * 4 * 3], 7);
}

TEST(Fit, AnImageThatWouldGrowWithoutBoundIsRefused) {
  const Image sliver = make_image(1, 1'000'000);
  EXPECT_EQ(message([&] {
              fit(sliver, {224, 224}, {});
            }),
            "is 224000000x1, expected 1 to 100000000 pixels");
}

TEST_F(ImageFiles, FoldersOfAClassAreItsLabel) {
  for (const char* name : {"train/dog/1.png", "train/cat/1.PNG", "train/cat/2.jpeg"}) write(name);
  write("train/cat/._2.jpeg");
  write("notes.txt", "not a picture");
  const ImageSet set = ImageSet::open(folder_.string());
  EXPECT_EQ(set.names(),
            (std::vector<std::string>{"train/cat/1.PNG", "train/cat/2.jpeg", "train/dog/1.png"}));
  EXPECT_EQ(set.folder_classes(), (std::vector<int64_t>{0, 0, 1}));
  EXPECT_EQ(set.others(), (std::map<std::string, size_t>{{".txt", 1}}));
  write("loose.png");
  EXPECT_TRUE(ImageSet::open(folder_.string()).folder_classes().empty());
}

TEST_F(ImageFiles, FoldersWithNumbersAreTheNumbers) {
  for (const char* name : {"2/a.png", "10/a.png"}) write(name);
  EXPECT_EQ(ImageSet::open(folder_.string()).folder_classes(), (std::vector<int64_t>{10, 2}));
}

TEST_F(ImageFiles, ImagesAreLaidOutAsTheModelTakesThem) {
  write("a.png");
  EXPECT_EQ(floats(open(network({1, 3, 1, 2})).batch(network({1, 3, 1, 2}), 0, 1)[0]),
            (std::vector<float>{255, 0, 0, 0, 0, 128}));
  EXPECT_EQ(floats(open(network({1, 1, 2, 3})).batch(network({1, 1, 2, 3}), 0, 1)[0]),
            (std::vector<float>{255, 0, 0, 0, 0, 128}));
  EXPECT_EQ(floats(open(network({1, 1, 1, 2})).batch(network({1, 1, 1, 2}), 0, 1)[0]),
            (std::vector<float>{76, 15}));
  const Preprocess bgr{.scale = 0.5, .mean = {0, 0, 7}, .channels = ChannelOrder::kBgr};
  EXPECT_EQ(floats(open(network({1, 3, 1, 2}), bgr).batch(network({1, 3, 1, 2}), 0, 1)[0]),
            (std::vector<float>{0, 64, 0, 0, 120.5, -7}));
}

TEST_F(ImageFiles, AnOpenSizeNeedsACrop) {
  write("a.png");
  const Graph graph = network({1, 3, 1, 1}, {"N", "", "H", "W"});
  EXPECT_TRUE(message([&] { open(graph); }).ends_with("expected --crop to say which"));
  EXPECT_EQ(open(graph, {.crop = Extent{1, 2}}).batch(graph, 0, 1)[0].shape(), (Shape{1, 3, 1, 2}));
}

TEST_F(ImageFiles, ADamagedImageIsLeftOutAndNamed) {
  for (const char* name : {"a.png", "c.png", "d.png"}) write(name);
  write("b.png", "");
  const Dataset data = open(network({1, 3, 1, 2}));
  EXPECT_EQ(data.size(), 3);
  EXPECT_EQ(data.found(), 4);
  EXPECT_EQ(data.position(1), 2);
  ASSERT_EQ(data.notes().size(), 1u);
  EXPECT_EQ(data.notes()[0], folder_.filename().string() +
                                 ": 1 of 4 images cannot be used and are left out: b.png is empty");
}

TEST_F(ImageFiles, TooFewImagesAreAnError) {
  write("a.png");
  for (const char* name : {"b.png", "c.png"}) write(name, "");
  EXPECT_TRUE(message([&] { open(network({1, 3, 1, 2})); }).ends_with("at least half of them"));
  EXPECT_TRUE(message([&] {
                open(network({1, 3, 1, 2}), {.minimum = 5});
              }).ends_with("expected at least 5"));
  EXPECT_EQ(open(network({1, 3, 1, 2}), {}, 1).size(), 1) << "only the chosen ones are looked at";
}

TEST(Random, IsTheSameForTheSameIndexAndSaysSoLoudly) {
  const Graph graph = network({1, 3, 4, 4}, {"N", "", "", ""});
  const Dataset data = Dataset::open("random:8", {.scale = 100});
  EXPECT_EQ(data.size(), 8);
  EXPECT_TRUE(identical(data.samples(graph, {2, 5})[0], data.samples(graph, {2, 5})[0]));
  EXPECT_EQ(floats(data.samples(graph, {5})[0])[7], floats(data.samples(graph, {1, 5})[0])[48 + 7]);
  EXPECT_LT(std::abs(floats(data.samples(graph, {5})[0])[7]), 10) << "not preprocessed";
  ASSERT_EQ(data.notes().size(), 1u);
  EXPECT_TRUE(data.notes()[0].starts_with("THE DATA IS RANDOM NOISE"));
  EXPECT_EQ(message([] { Dataset::open("random:x", {}); }),
            "'random:x' is no random:N, expected 1 to 1000000 samples");
}

}  // namespace
}  // namespace pare
