#include "passes/explain_channels.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "passes/prune_channels.h"
#include "pruning_graphs.h"

namespace pare {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> ops(const Graph& graph, const std::vector<NodeId>& nodes) {
  std::vector<std::string> result;
  for (NodeId id : nodes) result.push_back(graph.node(id).op);
  return result;
}

const ChannelSet& set_of(const ChannelMap& map, const std::string& name) {
  for (const ChannelSet& set : map.sets) {
    if (set.name == name) return set;
  }
  throw Error(ErrorKind::kInternal, "no set " + name);
}

TEST(ExplainChannels, ShowsWhatAResidualStreamCouples) {
  const Graph graph = small_resnet();
  const ChannelMap map = explain_channels(graph, {.min_channels = 2});
  ASSERT_EQ(map.sets.size(), 3u);
  const ChannelSet& stream = set_of(map, "stem");
  EXPECT_EQ(stream.channels, 8);
  EXPECT_EQ(stream.removable, 6);
  EXPECT_TRUE(stream.family.coupled);
  EXPECT_THAT(ops(graph, stream.couples), ElementsAre("Add", "Add"));
  EXPECT_EQ(stream.family.producers.size(), 3u) << "stem, a2 and b2";
  EXPECT_EQ(stream.family.consumers.size(), 3u) << "a1, b1 and fc";
  EXPECT_THAT(ops(graph, stream.through),
              ElementsAre("Relu", "Relu", "Relu", "GlobalAveragePool", "Flatten"));
}

TEST(ExplainChannels, CountsTheMacsThatDependOnASet) {
  const Graph graph = small_resnet();
  const ChannelMap map = explain_channels(graph, {.min_channels = 3});
  EXPECT_EQ(map.macs, static_cast<double>(estimate_cost(graph, {}).totals.macs));
  const ChannelSet& inner = set_of(map, "a1");
  EXPECT_EQ(inner.macs, 2 * 64 * 9 * 8 * 12) << "a1 writes them, a2 reads them";
  EXPECT_EQ(inner.saved, inner.macs * 9 / 12);
  EXPECT_TRUE(inner.couples.empty());
}

TEST(ExplainChannels, AnActivationThatAddsIsNoResidualStream) {
  Builder b;
  ValueId x = b.conv(b.image(3, 8), 8, 3, "one");
  x = b.add(x, b.graph.add_node("Tanh", {x}));    // As in GELU.
  x = b.add(x, b.conv(x, 8, 3, "depthwise", 8));  // No layer of its own channels.
  const ValueId y = b.relu(b.conv(x, 12, 3, "two"));
  b.graph.set_outputs({b.head(b.add(y, b.conv(y, 12, 3, "three")), 5)});
  const ChannelMap map = explain_channels(b.graph, {});
  ASSERT_EQ(map.sets.size(), 2u);
  EXPECT_FALSE(set_of(map, "one").family.coupled);
  EXPECT_TRUE(set_of(map, "two").family.coupled);
}

TEST(ExplainChannels, SaysThatAnOutputKeepsItsShape) {
  const Graph graph = small_resnet();
  const ChannelMap map = explain_channels(graph, {});
  ASSERT_EQ(map.pinned.size(), 1u);
  EXPECT_EQ(graph.node(map.pinned[0].node).name, "fc");
  EXPECT_EQ(map.pinned[0].channels, 5);
  EXPECT_EQ(map.pinned[0].pinned, 5);
  EXPECT_THAT(map.pinned[0].reason, HasSubstr("an output of the model, whose shape stays"));
}

TEST(ExplainChannels, NamesTheNodeThatPinsAndTheWayToIt) {
  Builder b;
  const ValueId x = b.relu(b.conv(b.image(3, 8), 8, 3, "one"));
  const ValueId soft = b.graph.add_node("Softmax", {x}, {{"axis", int64_t{1}}}, "attend");
  b.graph.set_outputs({b.head(soft, 5)});
  const ChannelMap map = explain_channels(b.graph, {});
  EXPECT_TRUE(map.sets.empty());
  ASSERT_EQ(map.pinned.size(), 2u);
  EXPECT_THAT(map.pinned[0].reason, HasSubstr("node 'attend' (Softmax) needs all of axis 1"));
  EXPECT_THAT(ops(b.graph, map.pinned[0].path), ElementsAre("Relu"));
}

TEST(ExplainChannels, AnUnknownOperatorIsNamed) {
  Builder b;
  const ValueId x = b.relu(b.conv(b.image(3, 8), 8, 3, "one"));
  b.graph.set_outputs({b.graph.add_node("Mystery", {x}, {}, "odd")});
  const ChannelMap map = explain_channels(b.graph, {});
  ASSERT_EQ(map.pinned.size(), 1u);
  EXPECT_EQ(map.pinned[0].reason, "node 'odd' (Mystery) is an operator pare does not know");
}

TEST(ExplainChannels, ChannelsOfAConcatArePinnedInPart) {
  Builder b;
  const ValueId x = b.image(3, 8);
  const ValueId one = b.conv(x, 8, 3, "one");
  const ValueId half = b.graph.add_node(
      "Slice", {one, b.graph.add_constant("s", Tensor(Shape{1}, std::vector<int64_t>{0})),
                b.graph.add_constant("e", Tensor(Shape{1}, std::vector<int64_t>{2})),
                b.graph.add_constant("a", Tensor(Shape{1}, std::vector<int64_t>{1}))});
  b.graph.set_outputs({half, b.head(b.relu(one), 5)});
  const ChannelMap map = explain_channels(b.graph, {.min_channels = 1});
  ASSERT_EQ(map.pinned.size(), 2u);
  EXPECT_EQ(map.pinned[0].channels, 8);
  EXPECT_EQ(map.pinned[0].pinned, 2);
  ASSERT_EQ(map.sets.size(), 1u);
  EXPECT_EQ(map.sets[0].channels, 8);
  EXPECT_EQ(map.sets[0].family.width, 1);
  EXPECT_EQ(map.sets[0].removable, 5) << "one of the six free ones stays";
}

TEST(ExplainChannels, TheForecastIsWhatPruningDoes) {
  const Dataset data = random_images(64, 3, 8);
  const PruneChannelsOptions options{.budget = {.amount = 0.3}};
  PassContext context{.data = &data};
  Graph graph = small_resnet();
  PrunePlanner planner(graph, options, context);
  const PrunePlan plan = planner.plan(options.budget);
  const ChannelMap map = explain_channels(graph, {});
  const std::vector<PlannedSet> sets = explain_plan(map, planner, plan);
  ASSERT_EQ(sets.size(), 3u);
  EXPECT_FALSE(sets[0].loss) << "a residual stream is not measured";
  EXPECT_GT(sets[1].saved + sets[2].saved, 0.3 * map.macs);
  const PassStats stats = make_prune_channels(options)->run(graph, context);
  const auto& rows = std::get<StatTable>(stats.at("sets")).rows;
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(std::get<std::string>(rows[1][0]), "a1");
  EXPECT_EQ(std::get<int64_t>(rows[1][1]), 12);
  EXPECT_EQ(std::get<int64_t>(rows[1][2]), sets[1].kept);
  EXPECT_EQ(std::get<double>(rows[1][3]), sets[1].saved);
  EXPECT_EQ(std::get<double>(rows[1][5]), *sets[1].loss);
  EXPECT_EQ(std::get<std::vector<double>>(rows[1].back()).size(), 13u) << "0 to 12 groups kept";
  EXPECT_EQ(rows[0].size(), 5u) << "a residual stream is not measured";
  EXPECT_EQ(weight_of(graph, "stem.w").shape()[0], sets[0].kept);
  EXPECT_EQ(weight_of(graph, "a1.w").shape()[0], sets[1].kept);
  EXPECT_EQ(weight_of(graph, "b1.w").shape()[0], sets[2].kept);
  EXPECT_EQ(static_cast<double>(estimate_cost(graph, {}).totals.macs), plan.after);
  EXPECT_GT(*sets[1].loss + *sets[2].loss, 0);
}

}  // namespace
}  // namespace pare
