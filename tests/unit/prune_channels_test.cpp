#include "passes/prune_channels.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "exec/interpreter.h"
#include "passes/output_loss.h"
#include "passes/prune_channels_plan.h"
#include "passes/prune_channels_proof.h"
#include "passes/prune_channels_score.h"
#include "passes/remove_slots.h"
#include "pruning_graphs.h"

namespace pare {
namespace {

uint64_t macs(const Graph& graph) { return estimate_cost(graph, {}).totals.macs; }

PassStats prune(Graph& graph, const PruneChannelsOptions& options, const Dataset* data = nullptr,
                int threads = 1) {
  PassContext context{.data = data, .threads = threads};
  PassStats stats = make_prune_channels(options)->run(graph, context);
  verify(graph);
  return stats;
}

PruneChannelsOptions share(double amount) { return {.budget = {.amount = amount}}; }

TEST(PruneChannels, ReachesTheBudgetFromBelow) {
  Builder b;
  ValueId x = b.relu(b.conv(b.image(3, 8), 64, 3, "one"));
  x = b.relu(b.conv(x, 64, 3, "two"));
  b.graph.set_outputs({b.head(b.relu(b.conv(x, 64, 3, "three")), 10)});
  for (const double amount : {0.2, 0.5}) {
    Graph graph = b.graph;
    const double before = static_cast<double>(macs(graph));
    prune(graph, share(amount));
    const double left = static_cast<double>(macs(graph)) / before;
    EXPECT_LE(left, 1 - amount);
    EXPECT_GE(left, 1 - amount - 0.01);
  }
}

TEST(PruneChannels, AnArgMaxIsJudgedByWhatItChoseFrom) {
  Builder b;
  const ValueId x = b.relu(b.conv(b.image(3, 8), 12, 3, "one"));
  const ValueId scores = b.conv(x, 5, 1, "two");
  const ValueId doubled = b.graph.add_node(
      "Resize",
      {scores, kNoValue, b.graph.add_constant("s", Tensor({4}, std::vector{1.f, 1.f, 2.f, 2.f}))},
      {{"mode", std::string("linear")}});
  const ValueId best = b.graph.add_node("ArgMax", {doubled}, {{"axis", int64_t{1}}});
  b.graph.set_outputs({best});
  const Dataset data = random_images(64, 3, 8);
  const PassContext context{.data = &data};
  const PruneChannelsOptions options = share(0.4);
  PrunePlanner planner(b.graph, options, context);
  planner.plan(options.budget);
  ASSERT_TRUE(planner.measured());
  const std::vector<double>& losses = planner.measured()->losses.at(0);
  EXPECT_GT(losses.at(0), 0);
  EXPECT_GT(losses.back(), losses[0]);
}

TEST(PruneChannels, ReachesABudgetOfParameters) {
  Graph graph = small_resnet();
  const uint64_t before = estimate_cost(graph, {}).totals.parameters;
  prune(graph, {.budget = {.measure = Measure::kParameters, .amount = 0.3}});
  const uint64_t after = estimate_cost(graph, {}).totals.parameters;
  EXPECT_LE(static_cast<double>(after), 0.7 * static_cast<double>(before));
  EXPECT_GE(static_cast<double>(after), 0.6 * static_cast<double>(before));
}

TEST(PruneChannels, LeavesResidualStreamsAloneWhileInnerChannelsSuffice) {
  Graph graph = small_resnet();
  prune(graph, share(0.3));
  EXPECT_EQ(weight_of(graph, "stem.w").shape()[0], 8);
  EXPECT_LT(weight_of(graph, "a1.w").shape()[0], 12);
}

TEST(PruneChannels, TouchesResidualStreamsWhenInnerChannelsDoNotSuffice) {
  Graph graph = small_resnet();
  prune(graph, {.budget = {.amount = 0.8}, .min_channels = 2});
  EXPECT_LT(weight_of(graph, "stem.w").shape()[0], 8);
  EXPECT_EQ(graph.shape(graph.outputs()[0]), (Shape{1, 5}));
}

TEST(PruneChannels, SaysSoWhenTheBudgetIsOutOfReach) {
  Graph graph = small_resnet();
  EXPECT_THROW(prune(graph, {.budget = {.amount = 0.9}, .min_channels = 8}), Error);
}

TEST(PruneChannels, KeepsTheSmallestNumberOfChannels) {
  Graph graph = small_resnet();
  prune(graph, {.budget = {.amount = 0.4}, .coupled = PruneCoupled::kNo, .min_channels = 6});
  EXPECT_GE(weight_of(graph, "a1.w").shape()[0], 6);
  EXPECT_GE(weight_of(graph, "b1.w").shape()[0], 6);
}

TEST(PruneChannels, KeepsMultiplesOfChannels) {
  Graph graph = small_resnet();
  prune(graph, {.budget = {.amount = 0.3}, .multiple = 4});
  EXPECT_EQ(weight_of(graph, "a1.w").shape()[0] % 4, 0);
  EXPECT_EQ(weight_of(graph, "b1.w").shape()[0] % 4, 0);
}

TEST(PruneChannels, ExcludedLayersStay) {
  Graph graph = small_resnet();
  prune(graph, {.budget = {.amount = 0.2}, .exclude = {"a?"}});
  EXPECT_EQ(weight_of(graph, "a1.w").shape()[0], 12);
  EXPECT_LT(weight_of(graph, "b1.w").shape()[0], 12);
}

TEST(PruneChannels, PatternsMatchOperatorsToo) {
  Graph graph = small_resnet();
  EXPECT_THROW(prune(graph, {.budget = {.amount = 0.2}, .exclude = {"Conv"}}), Error);
  prune(graph, {.budget = {.amount = 0.2}, .include = {"Co*"}});
  EXPECT_LT(weight_of(graph, "a1.w").shape()[0], 12);
}

TEST(PruneChannels, AMisspeltPatternIsAnError) {
  Graph graph = small_resnet();
  EXPECT_THROW(prune(graph, {.exclude = {"a1x"}}), Error);
  EXPECT_THROW(prune(graph, {.include = {"c?"}}), Error);
  EXPECT_THROW(prune(graph, {.limits = {{"c?", 4, false}}}), Error);
}

TEST(PruneChannels, LayersKeepWhatTheirLimitsSay) {
  for (const bool relative : {false, true}) {
    Graph graph = small_resnet();
    const LayerLimit limit{"a1", relative ? 0.75 : 9, relative};
    prune(graph, {.budget = {.amount = 0.4}, .coupled = PruneCoupled::kNo, .limits = {limit}});
    EXPECT_EQ(weight_of(graph, "a1.w").shape()[0], 9);
    EXPECT_LT(weight_of(graph, "b1.w").shape()[0], 9);
  }
}

TEST(PruneChannels, ALimitIsAPatternAndTheLeastToKeep) {
  const LayerLimit share = LayerLimit::parse("layer4.*=12.5%"),
                   channels = LayerLimit::parse("a=b=16");
  EXPECT_EQ(share.pattern, "layer4.*");
  EXPECT_TRUE(share.relative);
  EXPECT_DOUBLE_EQ(share.amount, 0.125);
  EXPECT_EQ(channels.pattern, "a=b");
  EXPECT_FALSE(channels.relative);
  EXPECT_EQ(channels.amount, 16);
  for (const char* text : {"", "a", "=4", "a=", "a=0", "a=1.5", "a=101%", "a=-3", "a=4 %", "a=x"})
    EXPECT_THROW(LayerLimit::parse(text), Error) << text;
}

TEST(PruneChannels, ANetworkWithoutWorkCannotBePruned) {
  Builder b;
  b.graph.set_outputs({b.relu(b.image(3, 8))});
  EXPECT_THROW(prune(b.graph, share(0.3)), Error);
}

TEST(PruneChannels, SaysHowFarItCouldGo) {
  Graph graph = small_resnet();
  std::string sentence;
  try {
    prune(graph, {.budget = {.amount = 0.9}, .min_channels = 6});
  } catch (const Error& error) {
    sentence = error.what();
  }
  const size_t at = sentence.find("leave it ");
  ASSERT_NE(at, std::string::npos) << sentence;
  const double least = std::stod(sentence.substr(at + 9));
  prune(graph, {.budget = {.amount = least, .relative = false}, .min_channels = 6});
  EXPECT_EQ(static_cast<double>(macs(graph)), least);
}

/// Share of the samples whose best class two networks agree on.
double agreement(const Graph& a, const Graph& b, const Dataset& data) {
  int64_t same = 0;
  for (int64_t i = 0; i < data.size(); ++i) {
    const auto best = [&](const Graph& graph) {
      const Tensor y = execute(graph, data.batch(graph, i, 1))[0];
      return std::ranges::max_element(y.data<float>()) - y.data<float>().begin();
    };
    same += best(a) == best(b);
  }
  return static_cast<double>(same) / static_cast<double>(data.size());
}

TEST(PruneChannels, CutsAsFarAsTheDropAllows) {
  Graph original = small_resnet();
  for (uint32_t i = 0; i < original.value_count(); ++i) {
    if (original.value(ValueId{i}).name == "fc.b")  // The images decide, not the bias.
      original.set_constant(ValueId{i}, Tensor(DType::kF32, {5}));
  }
  const Dataset data = random_images(256, 3, 8);
  Graph same = original;
  prune(same, {.budget = {.amount = 0.9}, .max_drop = 1e-3}, &data);
  EXPECT_EQ(macs(same), macs(original)) << "one of 64 samples is more than that";
  double last = 1;
  for (const double drop : {0.2, 0.6}) {
    Graph graph = original;
    const PassStats stats = prune(graph, {.budget = {.amount = 0.9}, .max_drop = drop}, &data);
    EXPECT_EQ(std::get<int64_t>(stats.at("held-out samples")), 64);
    EXPECT_GE(std::get<double>(stats.at("held-out agreement")), 1 - drop);
    EXPECT_GE(agreement(original, graph, data), 1 - 2 * drop);
    const double left = static_cast<double>(macs(graph)) / static_cast<double>(macs(original));
    EXPECT_LT(left, last) << "a larger drop allows a larger cut";
    last = left;
  }
}

TEST(PruneChannels, ABudgetEndsTheSearchByDrop) {
  Graph graph = small_resnet();
  const double before = static_cast<double>(macs(graph));
  const Dataset data = random_images(64, 3, 8);
  const PassStats stats = prune(graph, {.budget = {.amount = 0.2}, .max_drop = 0.9}, &data);
  EXPECT_EQ(std::get<int64_t>(stats.at("budgets tried")), 1);
  EXPECT_NEAR(static_cast<double>(macs(graph)), 0.8 * before, 0.05 * before);
}

TEST(PruneChannels, ADropNeedsClassesToCompare) {
  Builder b;
  const ValueId x = b.relu(b.conv(b.image(3, 8), 8, 3, "one"));
  b.graph.set_outputs({b.head(x, 1)});
  const Dataset data = random_images(16, 3, 8);
  EXPECT_THROW(prune(b.graph, {.max_drop = 0.1}, &data), Error);
}

TEST(PruneChannels, RemovesTheSmallestFilters) {
  Graph graph = small_resnet();
  for (uint32_t i = 0; i < graph.value_count(); ++i) {
    if (graph.value(ValueId{i}).name != "a1.w") continue;
    Tensor weight = *graph.value(ValueId{i}).constant;
    for (float& w : weight.mutable_data<float>().subspan(0, 3 * 72)) w *= 1e-3f;
    graph.set_constant(ValueId{i}, weight);
  }
  const Tensor x = random_tensor({2, 3, 8, 8}, 5);
  const Tensor before = execute(graph, {x})[0];
  // Three of twelve inner channels of one block.
  prune(graph, {.budget = {.amount = 0.1}, .include = {"a1"}});
  EXPECT_EQ(weight_of(graph, "a1.w").shape()[0], 9);
  EXPECT_LT(relative_difference(before, execute(graph, {x})[0]), 0.05);
}

TEST(PruneChannels, NothingToDoIsNoChange) {
  Graph graph = small_resnet();
  const uint64_t revision = graph.revision();
  prune(graph, {.budget = {.amount = 1e12, .relative = false}});
  EXPECT_EQ(graph.revision(), revision);
}

TEST(PruneChannels, WarnsWhenNothingCanBeFitted) {
  Graph graph = small_resnet();
  std::vector<std::string> warnings;
  PassContext context{.warn = [&](const std::string& text) { warnings.push_back(text); }};
  make_prune_channels(share(0.3))->run(graph, context);
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_NE(warnings[0].find("calibration data"), std::string::npos);
}

TEST(PruneChannels, IsBitIdenticalAtAnyNumberOfThreads) {
  const Dataset data = random_images(64, 3, 8);
  const Tensor x = random_tensor({2, 3, 8, 8}, 5);
  Graph one = small_resnet(), three = small_resnet();
  prune(one, share(0.3), &data, 1);
  prune(three, share(0.3), &data, 3);
  EXPECT_TRUE(identical(execute(one, {x})[0], execute(three, {x})[0]));
}

TEST(PruneChannels, PrunesDepthwiseAndGroupedConvolutions) {
  Builder b;
  ValueId x = b.relu(b.conv(b.image(3, 8), 16, 1, "expand"));
  x = b.relu(b.conv(x, 16, 3, "depthwise", 16));
  x = b.relu(b.conv(x, 16, 1, "project"));
  x = b.relu(b.conv(x, 16, 3, "grouped", 4));
  b.graph.set_outputs({b.head(x, 5)});
  const Dataset data = random_images(64, 3, 8);
  prune(b.graph, {.budget = {.amount = 0.4}, .method = PruneMethod::kL2}, &data);
  const int64_t expanded = weight_of(b.graph, "expand.w").shape()[0];
  EXPECT_LT(expanded, 16);
  EXPECT_EQ(weight_of(b.graph, "depthwise.w").shape()[0], expanded);
  EXPECT_EQ(weight_of(b.graph, "grouped.w").shape()[0] % 4, 0);
}

double loss_after(PruneMethod method, const Graph& original) {
  const Dataset data = random_images(128, 3, 8);
  Graph graph = original;
  prune(graph, {.budget = {.amount = 0.4}, .method = method, .min_channels = 2}, &data);
  const Tensor x = random_tensor({16, 3, 8, 8}, 5);
  return relative_difference(execute(original, {x})[0], execute(graph, {x})[0]);
}

TEST(PruneChannels, MeasuredLossBeatsMagnitude) {
  const Graph graph = small_resnet();
  EXPECT_LT(loss_after(PruneMethod::kObs, graph), loss_after(PruneMethod::kL2, graph));
}

/// The order in which the only family of a convolution with these filters gives up channels.
std::vector<int64_t> order_of(const std::vector<float>& filters, WeightScore score,
                              uint64_t seed = 0) {
  const auto count = static_cast<int64_t>(filters.size());
  Builder b;
  const ValueId x = b.image(1, 4);
  const ValueId w = b.graph.add_constant("w", Tensor(Shape{count, 1, 1, 1}, filters));
  b.graph.set_outputs({b.head(b.relu(b.graph.add_node("Conv", {x, w})), 3)});
  const ChannelSlots slots = ChannelSlots::analyze(b.graph);
  const std::vector<Family> families = find_families(b.graph, slots);
  EXPECT_EQ(families.size(), 1u);
  std::vector<int64_t> order;
  const Dim made{w, 0};
  for (uint32_t group : rank_by_weights(b.graph, slots, families[0], score, seed).order) {
    for (int64_t i = 0; i < count; ++i) {
      if (slots.group_of(made, i) == group) order.push_back(i);
    }
  }
  return order;
}

TEST(PruneChannels, ScoresOfWeightsOrderFilters) {
  using Order = std::vector<int64_t>;
  const std::vector<float> filters{5, -1, 4, 2, 9};
  EXPECT_EQ(order_of(filters, WeightScore::kL1), (Order{1, 3, 2, 0, 4}));
  EXPECT_EQ(order_of(filters, WeightScore::kL2), (Order{1, 3, 2, 0, 4}));
  // Sums of distances: 13 for 4, 14 for 5, 15 for 2, 24 for -1, 25 for 9.
  EXPECT_EQ(order_of(filters, WeightScore::kGeometricMedian), (Order{2, 0, 3, 1, 4}));
  const std::vector<float> many(32, 1.0f);
  EXPECT_EQ(order_of(many, WeightScore::kRandom, 1), order_of(many, WeightScore::kRandom, 1));
  EXPECT_NE(order_of(many, WeightScore::kRandom, 1), order_of(many, WeightScore::kRandom, 2));
}

TEST(PruneChannels, MeasuredLossReachesTheBudgetFromBelow) {
  const Dataset data = random_images(64, 3, 8);
  for (const double amount : {0.3, 0.8}) {
    Graph graph = small_resnet();
    const double before = static_cast<double>(macs(graph));
    prune(graph, {.budget = {.amount = amount}, .method = PruneMethod::kObs, .min_channels = 1},
          &data);
    const double left = static_cast<double>(macs(graph)) / before;
    EXPECT_LE(left, 1 - amount);
    EXPECT_GE(left, 1 - amount - 0.08);  // A channel of the stream is worth as much.
  }
}

TEST(PruneChannels, MeasuredLossIsBitIdenticalAtAnyNumberOfThreads) {
  const Dataset data = random_images(64, 3, 8);
  const Tensor x = random_tensor({2, 3, 8, 8}, 5);
  const PruneChannelsOptions options{.budget = {.amount = 0.3}, .method = PruneMethod::kObs};
  Graph one = small_resnet(), three = small_resnet();
  prune(one, options, &data, 1);
  prune(three, options, &data, 3);
  EXPECT_TRUE(identical(execute(one, {x})[0], execute(three, {x})[0]));
}

TEST(PruneChannels, MeasuresChannelsWithSeveralConsumersAndConcats) {
  Builder b;
  const ValueId x = b.relu(b.conv(b.image(3, 8), 12, 3, "one"));
  const ValueId left = b.relu(b.conv(x, 8, 3, "left")), right = b.relu(b.conv(x, 8, 1, "right"));
  const ValueId both = b.graph.add_node("Concat", {left, right}, {{"axis", int64_t{1}}});
  b.graph.set_outputs({b.head(b.relu(b.conv(both, 8, 3, "join")), 5)});
  const Dataset data = random_images(64, 3, 8);
  prune(b.graph, {.budget = {.amount = 0.5}, .method = PruneMethod::kObs}, &data);
  EXPECT_LT(weight_of(b.graph, "join.w").shape()[1], 16);
}

PruneChannelsOptions few_samples(double amount, PruneCoupled coupled) {
  PruneChannelsOptions options{.budget = {.amount = amount}, .coupled = coupled, .min_channels = 2};
  options.reconstruct.samples = 48;  // The rest is held out.
  return options;
}

TEST(PruneChannels, ComparesTwoPrunedNetworksOnHeldOutSamples) {
  const Dataset data = random_images(96, 3, 8);
  const Tensor x = random_tensor({2, 3, 8, 8}, 5);
  Graph one = small_resnet(), three = small_resnet(), all_used = small_resnet();
  const PruneChannelsOptions options = few_samples(0.4, PruneCoupled::kWhenNeeded);
  PassStats stats = prune(one, options, &data, 1);
  EXPECT_EQ(std::get<int64_t>(stats["candidates compared"]), 2);
  EXPECT_LE(static_cast<double>(macs(one)), 0.6 * static_cast<double>(macs(small_resnet())));
  prune(three, options, &data, 3);
  EXPECT_TRUE(identical(execute(one, {x})[0], execute(three, {x})[0]));
  const Dataset few = random_images(48, 3, 8);
  stats = prune(all_used, options, &few, 1);
  EXPECT_EQ(std::get<int64_t>(stats["candidates compared"]), 1);
}

TEST(PruneChannels, MeasuresResidualStreamsAndLeavesThemToTheKnapsack) {
  const Dataset data = random_images(96, 3, 8);
  Graph graph = small_resnet();
  prune(graph, few_samples(0.8, PruneCoupled::kYes), &data);
  const int64_t stream = weight_of(graph, "stem.w").shape()[0];
  EXPECT_LT(stream, 8);
  EXPECT_EQ(weight_of(graph, "fc.w").shape()[1], stream);
  Graph evenly = small_resnet();
  PruneChannelsOptions by_size = few_samples(0.8, PruneCoupled::kYes);
  by_size.method = PruneMethod::kL2;
  prune(evenly, by_size, &data);
  const Dataset others = random_images(64, 3, 8, 5);
  std::vector<int64_t> all(64);
  std::iota(all.begin(), all.end(), int64_t{0});
  const auto loss = [&](const Graph& pruned) {
    return output_loss(small_resnet(), pruned, all, {.data = &others});
  };
  EXPECT_LT(loss(graph), loss(evenly));
}

TEST(PruneChannels, FitsWhatAnUnmeasuredFamilyLeaves) {
  // Channels that a transposed convolution reads cannot be measured; those of "two" can.
  Builder b;
  ValueId x = b.relu(b.conv(b.image(3, 8), 16, 3, "one"));
  x = b.relu(b.graph.add_node("ConvTranspose", {x, b.weight("up.w", {16, 12, 2, 2})},
                              {{"strides", std::vector<int64_t>{2, 2}}}, "up"));
  x = b.relu(b.conv(x, 12, 3, "two"));
  b.graph.set_outputs({b.head(b.relu(b.conv(x, 8, 3, "three")), 5)});
  const double before = static_cast<double>(macs(b.graph));
  const Dataset data = random_images(96, 3, 8);
  PruneChannelsOptions options = few_samples(0.8, PruneCoupled::kWhenNeeded);
  options.include = {"one", "two"};  // The second alone cannot give that much.
  prune(b.graph, options, &data);
  EXPECT_LT(weight_of(b.graph, "one.w").shape()[0], 16);
  EXPECT_LE(static_cast<double>(macs(b.graph)), 0.2 * before);
}

TEST(PruneChannels, ReadsBudgets) {
  const Budget share = Budget::parse(Measure::kMacs, "-40%");
  EXPECT_TRUE(share.relative);
  EXPECT_DOUBLE_EQ(share.target(200), 120);
  EXPECT_DOUBLE_EQ(Budget::parse(Measure::kMacs, "75M").target(1e9), 75e6);
  EXPECT_DOUBLE_EQ(Budget::parse(Measure::kMacs, "0.5G").target(1e9), 5e8);
  EXPECT_DOUBLE_EQ(Budget::parse(Measure::kMacs, "1200").target(1e9), 1200);
  for (const char* text : {"", "40%", "-40", "-100%", "0", "75X", "nan", "-0%"})
    EXPECT_THROW(Budget::parse(Measure::kMacs, text), Error) << text;
}

TEST(PruneChannels, ProofNoticesAWrongSlice) {
  const Graph graph = small_resnet();
  const ChannelSlots slots = ChannelSlots::analyze(graph);
  Graph pruned = graph;
  uint32_t doomed = 0;
  for (NodeId id : graph.order()) {
    if (graph.node(id).name == "a1") doomed = slots.group_of({graph.node(id).outputs[0], 1}, 0);
  }
  remove_slots(pruned, slots, [&](uint32_t group) { return group == doomed; });
  const auto is_doomed = [&](uint32_t group) { return group == doomed; };
  const std::vector<Tensor> inputs = {random_tensor({1, 3, 8, 8}, 5)};
  EXPECT_LT(prove_removal(graph, pruned, slots, is_doomed, inputs), 1e-5);
  EXPECT_THROW(prove_removal(
                   graph, pruned, slots, [](uint32_t) { return false; }, inputs),
               Error);
}

}  // namespace
}  // namespace pare
