#include "passes/sensitivity_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <fstream>

#include "passes/prune_channels_plan.h"
#include "pruning_graphs.h"

namespace pare {
namespace {

using testing::HasSubstr;

class SensitivityFileTest : public testing::Test {
 protected:
  SensitivityFileTest()
      : folder_(std::filesystem::path(testing::TempDir()) /
                ("pare_sens_" +
                 std::string(testing::UnitTest::GetInstance()->current_test_info()->name()))) {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  ~SensitivityFileTest() override { std::filesystem::remove_all(folder_); }

  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  std::string written(const std::string& text) const {
    std::ofstream(path("bad.sens")) << text;
    return path("bad.sens");
  }

  const std::filesystem::path folder_;
};

FamilyMeasurement family(const std::string& name, double loss) {
  return {.name = name,
          .groups = 3,
          .least = 1,
          .order = {2, 0},
          .error = {0, 1.0 / 3, 0.1, 0},
          .kept = {2, 1},
          .losses = {loss, 2 * loss}};
}

std::string text_of(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST_F(SensitivityFileTest, ComesBackToTheLastBit) {
  SensitivityFile file;
  file.section({"m", "d", 512, 64, 0.05}).put(family("b", 1e-300));
  file.section({"m", "d", 512, 64, 0.05}).put(family("a", 0.1 + 0.2));
  file.section({"m", "other", 512, 64, 0.05}).put(family("a", 7));
  file.write(path("x.sens"));
  const SensitivityFile back = SensitivityFile::read(path("x.sens"));
  ASSERT_EQ(back.sections.size(), 2u);
  EXPECT_EQ(back.sections[0].key, file.sections[0].key);
  EXPECT_EQ(back.sections[0].families, file.sections[0].families);
  EXPECT_EQ(back.sections[0].families[0].name, "a");
  EXPECT_EQ(back.sections[1].families, file.sections[1].families);
}

TEST_F(SensitivityFileTest, MergingKeepsAllAndPrefersTheLater) {
  SensitivityFile one, two;
  one.section({"m", "d", 1, 1, 1}).put(family("a", 1));
  one.section({"m", "d", 1, 1, 1}).put(family("b", 1));
  two.section({"m", "d", 1, 1, 1}).put(family("b", 2));
  two.section({"n", "d", 1, 1, 1}).put(family("a", 3));
  one.merge(two);
  ASSERT_EQ(one.sections.size(), 2u);
  EXPECT_EQ(one.sections[0].find("a")->losses[0], 1);
  EXPECT_EQ(one.sections[0].find("b")->losses[0], 2);
  EXPECT_EQ(one.sections[1].find("a")->losses[0], 3);
  EXPECT_EQ(one.sections[0].find("c"), nullptr);
}

TEST_F(SensitivityFileTest, WhatIsNoSuchFileIsRefusedWithItsName) {
  SensitivityFile good;
  good.section({"m", "d", 1, 1, 1}).put(family("a", 1));
  good.write(path("good.sens"));
  const std::string text = text_of(path("good.sens"));
  const auto swapped = [&](const std::string& from, const std::string& to) {
    std::string result = text;
    const size_t at = result.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return result.replace(at, from.size(), to);
  };
  for (const std::string& bad :
       {std::string(), std::string("{}"), std::string("[1]"), text.substr(0, text.size() / 2),
        swapped("\"version\": 3", "\"version\": 1"), swapped("\"groups\": 3", "\"groups\": 4"),
        swapped("\"groups\": 3", "\"groups\": -3"), swapped("\"groups\": 3", "\"groups\": 1e18"),
        swapped("\"least\": 1", "\"least\": 0"), swapped("\"losses\"", "\"loses\""),
        swapped("0.1,", "\"x\",")}) {
    try {
      SensitivityFile::read(written(bad));
      FAIL() << bad;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kInput);
      EXPECT_THAT(error.what(), HasSubstr("bad.sens: "));
    }
  }
}

/// Measures what `sharing` says into `file` and returns what the planner then knows.
MeasuredFamilies measure(const Graph& graph, const std::string& file, MeasureSharing sharing,
                         const PassContext& context) {
  const PruneChannelsOptions options{.sensitivity = file};
  PrunePlanner planner(graph, options, context);
  planner.measure(sharing);
  MeasuredFamilies result = *planner.measured();
  for (ErrorCurve& curve : result.curves) curve.family = nullptr;  // Went with the planner.
  return result;
}

TEST_F(SensitivityFileTest, ShardsPutTogetherAreTheWhole) {
  const Graph graph = small_resnet();
  const Dataset data = random_images(32, 3, 8);
  const PassContext context{.data = &data};
  measure(graph, path("whole.sens"), {}, context);
  SensitivityFile merged;
  for (int64_t i = 0; i < 3; ++i) {
    const std::string part = path(std::to_string(i) + ".sens");
    measure(graph, part, {.shard = i, .shards = 3}, context);
    merged.merge(SensitivityFile::read(part));
  }
  merged.write(path("merged.sens"));
  EXPECT_EQ(text_of(path("merged.sens")), text_of(path("whole.sens")));
  EXPECT_EQ(merged.sections[0].families.size(), 2u) << "a1 and b1; the stream is not measured";
}

TEST_F(SensitivityFileTest, AnInterruptedMeasurementGoesOnWhereItStopped) {
  const Graph graph = small_resnet();
  const Dataset data = random_images(32, 3, 8);
  PassContext context{.data = &data};
  const MeasuredFamilies whole = measure(graph, path("whole.sens"), {}, context);
  std::atomic<bool> stop = false;
  context.progress = {.report =
                          [&](std::string_view stage, int64_t done, int64_t) {
                            // Behind the tails of a1, which are three quarters of all.
                            stop = stage.starts_with("measuring sensitivities") && done >= 60;
                          },
                      .cancelled = &stop};
  EXPECT_THROW(measure(graph, path("cut.sens"), {}, context), Error);
  EXPECT_EQ(SensitivityFile::read(path("cut.sens")).sections[0].families.size(), 1u);
  EXPECT_EQ(std::ranges::distance(std::filesystem::directory_iterator(folder_)), 2)
      << "nothing half-written is left";

  stop = false;
  context.progress.report = nullptr;
  const MeasuredFamilies resumed = measure(graph, path("cut.sens"), {}, context);
  EXPECT_EQ(text_of(path("cut.sens")), text_of(path("whole.sens")));
  EXPECT_EQ(resumed.losses, whole.losses);
  ASSERT_EQ(resumed.curves.size(), whole.curves.size());
  for (size_t f = 0; f < whole.curves.size(); ++f) {
    EXPECT_EQ(resumed.curves[f].order, whole.curves[f].order);
    EXPECT_EQ(resumed.curves[f].error, whole.curves[f].error);
  }
}

TEST_F(SensitivityFileTest, WhatIsKnownIsNotMeasuredAgainUnlessSomethingChanged) {
  Graph graph = small_resnet();
  const Dataset data = random_images(32, 3, 8), others = random_images(32, 3, 8, 7);
  PassContext context{.data = &data};
  measure(graph, path("x.sens"), {}, context);
  int64_t most = 0;
  context.progress.report = [&](std::string_view stage, int64_t done, int64_t) {
    if (stage == "measuring channels") most = std::max(most, done);
  };
  measure(graph, path("x.sens"), {}, context);
  EXPECT_EQ(most, 0) << "no pass over the network is needed";
  EXPECT_EQ(SensitivityFile::read(path("x.sens")).sections.size(), 1u);

  context.data = &others;
  measure(graph, path("x.sens"), {}, context);
  EXPECT_GT(most, 0);
  context.data = &data;
  for (uint32_t i = 0; i < graph.value_count(); ++i) {
    if (graph.value(ValueId{i}).name == "fc.b")
      graph.set_constant(ValueId{i}, Tensor(DType::kF32, {5}));
  }
  measure(graph, path("x.sens"), {}, context);
  EXPECT_EQ(SensitivityFile::read(path("x.sens")).sections.size(), 3u);
}

}  // namespace
}  // namespace pare
