#include "report/channel_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "pruning_graphs.h"

namespace pare {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

class ChannelReportTest : public testing::Test {
 protected:
  ChannelReport report(bool forecast) const {
    ChannelReport result{.model = "net.onnx", .graph = graph_, .map = explain_channels(graph_, {})};
    if (forecast)
      result.forecast = {
          .before = 100, .target = 70, .after = 69, .sets = {{8}, {6, 20, 0.5}, {9}}};
    return result;
  }

  const Graph graph_ = small_resnet();
};

TEST_F(ChannelReportTest, JsonKeepsTheContractOfScripts) {
  const json document = json::parse(to_json(report(true)));
  EXPECT_EQ(document["model"], "net.onnx");
  const json& stem = document["sets"][0];
  EXPECT_EQ(stem["name"], "stem");
  EXPECT_EQ(stem["channels"], 8);
  EXPECT_EQ(stem["removable"], 4);
  EXPECT_EQ(stem["residual"], true);
  EXPECT_EQ(stem["written_by"][0]["name"], "stem");
  EXPECT_EQ(stem["read_by"].size(), 3u);
  EXPECT_EQ(stem["coupled_by"][0]["op"], "Add");
  EXPECT_EQ(document["pinned"][0]["name"], "fc");
  EXPECT_EQ(document["pinned"][0]["channels"], 5);
  EXPECT_EQ(document["forecast"]["after"], 69);
  EXPECT_EQ(document["forecast"]["sets"][1]["kept"], 6);
  EXPECT_EQ(document["forecast"]["sets"][1]["loss"], 0.5);
  EXPECT_EQ(document["forecast"]["sets"][0]["loss"], nullptr);
  EXPECT_EQ(json::parse(to_json(report(false)))["forecast"], nullptr);
}

TEST_F(ChannelReportTest, TheTableShowsSetsOrTheForecastAndWhatIsPinned) {
  const std::string plain = to_table(report(false)), forecast = to_table(report(true));
  EXPECT_THAT(plain, HasSubstr("Add x2"));
  EXPECT_THAT(plain, HasSubstr("fc (Gemm): they are axis 1 of"));
  EXPECT_THAT(forecast, HasSubstr("-50.0 %"));
  EXPECT_THAT(forecast, HasSubstr("nothing was written"));
  EXPECT_THAT(plain, Not(HasSubstr("nothing was written")));
}

TEST_F(ChannelReportTest, LayersPinnedForOneReasonShareALine) {
  ChannelReport many = report(false);
  const PinnedChannels pinned = many.map.pinned[0];
  many.map.pinned.assign(30, pinned);
  EXPECT_THAT(to_table(many), HasSubstr("fc (Gemm), fc (Gemm), fc (Gemm) and 27 more: they are"));
}

TEST_F(ChannelReportTest, SelectionFollowsAnyMemberAndKeepsTheForecast) {
  ChannelReport chosen = report(true);
  select(chosen, "a2");  // Reads a1's channels, writes the stream.
  ASSERT_EQ(chosen.map.sets.size(), 2u);
  EXPECT_EQ(chosen.map.sets[1].name, "a1");
  EXPECT_EQ(chosen.forecast->sets[1].kept, 6);
  EXPECT_TRUE(chosen.map.pinned.empty());
  EXPECT_THAT(to_details(chosen), HasSubstr("would keep    6, loss 0.5"));
  ChannelReport none = report(true);
  EXPECT_THROW(select(none, "c?"), Error);
}

}  // namespace
}  // namespace pare
