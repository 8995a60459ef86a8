#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include "cost/device_estimate.h"
#include "cost/device_profile.h"
#include "ops/ops.h"

namespace pare {
namespace {

constexpr double kTera = 1e12;

double macs_per_second(const DeviceProfile& device) {
  const DeviceProfile::Array& array = device.arrays[0];
  return static_cast<double>(device.cores * array.macs_per_cycle()) * array.clock_hz;
}

/// One convolution of `inputs` to `outputs` channels on an image of 14 x 14.
Graph convolution(int64_t inputs, int64_t outputs, int64_t kernel, int64_t group = 1) {
  Graph graph(onnx_ops());
  graph.set_opset("", 17);
  const ValueId x = graph.add_input("x", {DType::kF32, {1, inputs, 14, 14}});
  const ValueId w =
      graph.add_constant("w", Tensor(DType::kF32, {outputs, inputs / group, kernel, kernel}));
  const int64_t pad = kernel / 2;
  graph.set_outputs({graph.add_node(
      "Conv", {x, w}, {{"group", group}, {"pads", std::vector<int64_t>{pad, pad, pad, pad}}})});
  graph.infer_types();
  return graph;
}

uint64_t cycles(const Graph& graph, const std::string& device) {
  return estimate_device(graph, DeviceProfile::find(device)).layers.at(0).cycles;
}

TEST(DeviceProfile, EnginesMultiplyAsManyACycleAsPublished) {
  const std::map<std::string, int64_t> published = {
      {"b512", 256},  {"b800", 400},   {"b1024", 512},  {"b1152", 576},
      {"b1600", 800}, {"b2304", 1152}, {"b3136", 1568}, {"b4096", 2048}};
  for (const auto& [arch, macs] : published)
    EXPECT_EQ(DeviceProfile::find("dpu-" + arch).arrays[0].macs_per_cycle(), macs) << arch;
}

TEST(DeviceProfile, BoardsAndChipsPeakAsPublished) {
  const std::map<std::string, double> tera_macs = {
      {"zcu102", 3.45 / 2}, {"zcu104", 2.46 / 2}, {"kv260", 1.23 / 2}, {"ultra96", 0.46 / 2},
      {"zu3eg", 0.64},      {"zu4ev", 1.30},      {"zu5ev", 2.22},     {"zu7ev", 3.08},
      {"zu9eg", 4.49},      {"zu15eg", 6.29},     {"zu19eg", 3.51}};
  for (const auto& [name, peak] : tera_macs)
    EXPECT_NEAR(macs_per_second(DeviceProfile::find(name)) / kTera, peak, 0.0051) << name;
}

TEST(DeviceProfile, EveryOneSaysWhereItsFiguresAreFrom) {
  EXPECT_EQ(known_devices().size(), 19u);
  for (const std::string& name : known_devices())
    EXPECT_GT(DeviceProfile::find(name).source.size(), 20u) << name;
}

TEST(DeviceProfile, ChannelMultipleIsTheLatticeOfTheArray) {
  EXPECT_EQ(DeviceProfile::find("dpu-b1600").channel_multiple(), 10);
  EXPECT_EQ(DeviceProfile::find("zcu102").channel_multiple(), 16);
}

/// What find() says about a file of `text`.
std::string complaint(const std::string& text, const std::string& name = {}) {
  const std::string test = testing::UnitTest::GetInstance()->current_test_info()->name();
  const std::string path = testing::TempDir() + test + "_device.yaml";
  std::ofstream(path) << text;
  try {
    DeviceProfile::find(path + (name.empty() ? "" : ":" + name));
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUsage);
    return error.what();
  }
  return "accepted";
}

constexpr const char* kMine =
    "name: mine\nsource: measured\ncores: 2\n"
    "arrays: [{precision: int8, pixels: 2, input_channels: 4, output_channels: 4, clock_mhz: "
    "100}]\n"
    "buffer_bytes: 65536\ndram_gb_per_second: 1\n";

TEST(DeviceProfile, AFileOfTheUsersIsReadByNameWhereItHoldsMore) {
  EXPECT_EQ(complaint(kMine), "accepted");
  const std::string two = std::string(kMine) + "---\n" + kMine;
  EXPECT_THAT(complaint(two), testing::HasSubstr("holds more than one device"));
  EXPECT_EQ(complaint(two, "mine"), "accepted");
  EXPECT_THAT(complaint(two, "other"), testing::HasSubstr("has no device 'other'"));
}

TEST(DeviceProfile, MistakesAreNamedWithFileLineAndKey) {
  std::string text = kMine;
  text.replace(text.find("clock_mhz: 100"), 14, "clock_mhz: 0");
  EXPECT_THAT(complaint(text), testing::ContainsRegex("device.yaml:4: .*'clock_mhz' is 0"));
  text = kMine;
  text.replace(text.find("int8"), 4, "int99");
  EXPECT_THAT(complaint(text), testing::HasSubstr("'precision' is 'int99', expected fp32"));
  try {
    DeviceProfile::find("zcu103");
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("device 'zcu103' is unknown, expected a YAML file "
                                                 "or one of zcu102, "));
  }
}

TEST(DeviceEstimate, SeventeenChannelsCostAs32) {
  EXPECT_EQ(cycles(convolution(17, 64, 3), "dpu-b4096"),
            cycles(convolution(32, 64, 3), "dpu-b4096"));
  EXPECT_EQ(cycles(convolution(64, 17, 3), "dpu-b4096"),
            cycles(convolution(64, 32, 3), "dpu-b4096"));
  EXPECT_LT(cycles(convolution(16, 64, 3), "dpu-b4096"),
            cycles(convolution(17, 64, 3), "dpu-b4096"));
}

TEST(DeviceEstimate, CyclesFollowTheFormulaOfTheArray) {
  // 196 places of 8, 32 channels in and 48 out of 16, 9 elements.
  EXPECT_EQ(cycles(convolution(32, 48, 3), "dpu-b4096"), 25u * 2 * 3 * 9);
  // Groups one after the other: each 8 channels in and 12 out.
  EXPECT_EQ(cycles(convolution(32, 48, 3, 4), "dpu-b4096"), 4u * 25 * 1 * 1 * 9);
}

TEST(DeviceEstimate, DepthwiseConvolutionsRunOnTheirOwnEngine) {
  EXPECT_EQ(cycles(convolution(48, 48, 3, 48), "dpu-b4096"), 49u * 3 * 9);
  // Bare slices have no such engine: each filter uses one input channel of its own group.
  EXPECT_EQ(cycles(convolution(48, 48, 3, 48), "zu9eg"), 48u * 196 * 9);
}

TEST(DeviceEstimate, PaddingIsTheShareOfProductsNobodyAskedFor) {
  const DeviceEstimate full =
      estimate_device(convolution(32, 32, 1), DeviceProfile::find("dpu-b1024"));
  EXPECT_NEAR(full.padding, 1 - 196.0 / 200, 1e-12) << "196 places in 25 times 8";
  const DeviceEstimate half =
      estimate_device(convolution(17, 32, 1), DeviceProfile::find("dpu-b1024"));
  EXPECT_NEAR(half.padding, 1 - 196.0 / 200 * 17 / 24, 1e-12);
}

TEST(DeviceEstimate, AMatrixOfWeightsWaitsForDram) {
  Graph graph(onnx_ops());
  graph.set_opset("", 17);
  const ValueId x = graph.add_input("x", {DType::kF32, {1, 4096}});
  const ValueId w = graph.add_constant("w", Tensor(DType::kF32, {4096, 1024}));
  graph.set_outputs({graph.add_node("MatMul", {x, w})});
  graph.infer_types();
  const DeviceProfile device = DeviceProfile::find("zcu102");
  const DeviceEstimate estimate = estimate_device(graph, device);
  const double bytes = 4096.0 * 1024 + 4096 + 1024;  // As if it were INT8.
  EXPECT_EQ(estimate.dram_bytes, static_cast<uint64_t>(bytes));
  EXPECT_NEAR(estimate.frames_per_second, device.dram_bytes_per_second / bytes, 1e-6)
      << "all cores together read no faster than the memory";
  EXPECT_GT(estimate.dram_share, 0.5);
  EXPECT_NEAR(estimate.utilisation,
              4096.0 * 1024 * estimate.frames_per_second / macs_per_second(device), 1e-12);
}

}  // namespace
}  // namespace pare
