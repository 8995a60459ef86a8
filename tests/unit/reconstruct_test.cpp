#include "passes/reconstruct.h"

#include <gtest/gtest.h>

#include <set>

#include "exec/interpreter.h"
#include "passes/lockstep_settings.h"
#include "passes/refit_producer.h"
#include "passes/remove_slots.h"
#include "pruning_graphs.h"

namespace pare {
namespace {

/// Makes the last `count` filters of a constant copies of the first ones.
void duplicate_filters(Graph& graph, const std::string& name, int64_t count) {
  for (uint32_t i = 0; i < graph.value_count(); ++i) {
    if (graph.value(ValueId{i}).name != name) continue;
    Tensor tensor = *graph.value(ValueId{i}).constant;
    const std::span<float> data = tensor.mutable_data<float>();
    const size_t size = data.size() / static_cast<size_t>(tensor.shape()[0]);
    const size_t length = size * static_cast<size_t>(count);
    std::copy_n(data.begin(), length, data.end() - static_cast<ptrdiff_t>(length));
    graph.set_constant(ValueId{i}, std::move(tensor));
  }
}

/// A graph without the last `count` channels of node `name`.
struct Removal {
  Removal(Graph graph, const std::string& name, int64_t count)
      : original(std::move(graph)), pruned(original), slots(ChannelSlots::analyze(original)) {
    for (NodeId id : original.order()) {
      if (original.node(id).name != name) continue;
      const ValueId output = original.node(id).outputs[0];
      const int axis = original.shape(output).size() == 3 ? 2 : 1;
      const int64_t extent = slots.extent({output, axis});
      for (int64_t i = extent - count; i < extent; ++i)
        doomed.insert(slots.group_of({output, axis}, i));
    }
    remove_slots(pruned, slots, [&](uint32_t group) { return doomed.contains(group); });
  }
  Removal(const Removal&) = delete;  // `slots` points to `original`.
  Removal& operator=(const Removal&) = delete;

  Graph original, pruned;
  ChannelSlots slots;
  std::set<uint32_t> doomed;
};

ReconstructResult refit(Removal& r, const Dataset& data, const ReconstructOptions& options = {}) {
  const PassContext context{.data = &data, .threads = 2};
  const auto surviving = [&](Dim dim) {
    return r.slots.surviving(dim, [&](uint32_t group) { return r.doomed.contains(group); });
  };
  return reconstruct(r.original, r.pruned, surviving, options, context);
}

/// How far the pruned network is from the original, before and after fitting.
std::pair<double, double> errors(Removal& r, const Dataset& data,
                                 const ReconstructOptions& options = {}) {
  const Shape& shape = r.original.shape(r.original.inputs()[0]);
  Shape batch = shape;
  batch[0] = 4;
  const Tensor x = random_tensor(batch, 1234);
  const Tensor expected = execute(r.original, {x})[0];
  const double before = relative_difference(expected, execute(r.pruned, {x})[0]);
  refit(r, data, options);
  verify(r.pruned);
  return {before, relative_difference(expected, execute(r.pruned, {x})[0])};
}

TEST(Reconstruct, RecoversRedundantChannelsExactly) {
  Graph graph = small_resnet();
  duplicate_filters(graph, "a1.w", 3);
  duplicate_filters(graph, "a1.b", 3);
  Removal r(graph, "a1", 3);
  const auto [before, after] = errors(r, random_images(256, 3, 8), {.ridge = 1e-6});
  EXPECT_GT(before, 0.05);
  EXPECT_LT(after, 1e-4);
}

TEST(Reconstruct, ReducesTheErrorOfRemovedChannels) {
  Removal r(small_resnet(), "a1", 4);
  const auto [before, after] = errors(r, random_images(256, 3, 8));
  EXPECT_LT(after, 0.5 * before);
}

TEST(Reconstruct, ReducesTheErrorOfAPrunedResidualStream) {
  Removal r(small_resnet(), "stem", 1);
  const auto [before, after] = errors(r, random_images(256, 3, 8));
  EXPECT_LT(after, 0.7 * before);
}

TEST(Reconstruct, DoesNotLearnFewSamplesByHeart) {
  Builder b;
  b.graph.set_outputs({b.head(b.relu(b.conv(b.image(3, 4), 128, 3, "one")), 5)});
  Removal r(b.graph, "one", 72);  // 56 inputs of the classifier and as many samples to fit it to.
  const auto [before, after] = errors(r, random_images(64, 3, 4), {.ridge = 1e-6});
  EXPECT_LT(after, before) << "on other samples";
}

TEST(Reconstruct, GivesALayerTheBiasItLacks) {
  Builder b;
  ValueId x = b.conv(b.image(3, 8), 8, 3, "one");
  x = b.graph.add_node("Conv", {b.relu(x), b.weight("two.w", {6, 8, 1, 1})}, {}, "two");
  b.graph.set_outputs({b.head(b.relu(x), 5)});
  Removal r(b.graph, "one", 3);
  refit(r, random_images(64, 3, 8));
  verify(r.pruned);
  for (NodeId id : r.pruned.order()) {
    if (r.pruned.node(id).name != "two") continue;
    ASSERT_TRUE(r.pruned.node(id).has_input(2));
    EXPECT_EQ(r.pruned.shape(r.pruned.node(id).inputs[2]), (Shape{6}));
  }
}

/// Lets node `name` use the even rows only.
struct EvenRows final : InputChooser {
  EvenRows(const Graph& graph, const std::string& name) {
    for (NodeId id : graph.order()) {
      if (graph.node(id).name == name) node = id;
    }
  }
  bool restricts(NodeId id) const override { return id == node; }
  std::vector<std::vector<int64_t>> choose(const LayerMoments& layer) override {
    std::vector<std::vector<int64_t>> rows(layer.gram.h.size());
    for (int64_t i = 0; i < layer.view.inputs(); i += 2) rows[0].push_back(i);
    return rows;
  }
  NodeId node{};
};

TEST(Reconstruct, UsesOnlyTheInputsItIsLeft) {
  const Graph original = small_resnet();
  Graph changed = original;
  const Dataset data = random_images(128, 3, 8);
  const ChannelSlots slots = ChannelSlots::analyze(original);
  const auto all = [&](Dim dim) { return slots.surviving(dim, [](uint32_t) { return false; }); };
  EvenRows chooser(original, "fc");
  const ReconstructResult result =
      reconstruct(original, changed, all, {}, {.data = &data, .threads = 2}, &chooser);
  EXPECT_EQ(result.fitted, 1) << "a node that is restricted is behind a change";
  const Tensor& weight = weight_of(changed, "fc.w");
  for (int64_t i = 0; i < weight.size(); ++i) {
    const bool used = i % weight.shape()[1] % 2 == 0;
    EXPECT_EQ(weight.data<float>()[static_cast<size_t>(i)] != 0, used) << i;
  }
}

TEST(Reconstruct, LeavesLayersBeforeTheFirstChangeAlone) {
  Removal r(small_resnet(), "b1", 4);
  refit(r, random_images(32, 3, 8));
  for (const std::string name : {"stem.w", "a1.w", "a2.w"})
    EXPECT_TRUE(identical(weight_of(r.original, name), weight_of(r.pruned, name))) << name;
  EXPECT_FALSE(identical(weight_of(r.original, "fc.w"), weight_of(r.pruned, "fc.w")));
}

TEST(Reconstruct, FitsGroupedAndDepthwiseConvolutions) {
  for (const int64_t group : {2, 8}) {
    Builder b;
    ValueId x = b.relu(b.conv(b.image(3, 8), 8, 3, "one"));
    x = b.relu(b.conv(x, 12, 3, "two"));
    x = b.relu(b.conv(b.conv(x, 8, 1, "three"), 8, 3, "four", group));
    b.graph.set_outputs({b.head(x, 5)});
    Removal r(b.graph, "two", 3);
    const auto [before, after] = errors(r, random_images(256, 3, 8));
    EXPECT_LT(after, 0.7 * before) << group << " groups";
  }
}

TEST(Reconstruct, FitsATransformerMlp) {
  Builder b;
  const ValueId x = b.graph.add_input("x", {DType::kF32, {1, 6, 8}}, {"N", "", ""});
  const auto linear = [&](ValueId in, int64_t outputs, const std::string& name) {
    const ValueId y = b.graph.add_node(
        "MatMul", {in, b.weight(name + ".w", {b.graph.shape(in)[2], outputs})}, {}, name);
    return b.add(y, b.graph.add_constant(name + ".b", random_tensor({outputs}, 77, 0.1f)));
  };
  const ValueId hidden = b.relu(linear(x, 24, "up"));
  b.graph.set_outputs({b.add(x, linear(hidden, 8, "down"))});
  Removal r(b.graph, "up", 8);
  const Dataset data = Dataset::of({random_tensor({256, 6, 8}, 3)});
  const auto [before, after] = errors(r, data);
  EXPECT_LT(after, 0.7 * before);
  EXPECT_FALSE(identical(weight_of(r.original, "down.b"), weight_of(r.pruned, "down.b")));
}

TEST(Reconstruct, RunsPastShapeArithmeticThatRemovalRepaired) {
  Builder b;
  const ValueId x = b.image(3, 8);
  const ValueId y = b.relu(b.conv(x, 8, 3, "one"));
  const auto integers = [&](const std::vector<int64_t>& values) {
    return b.graph.add_constant("i", Tensor({static_cast<int64_t>(values.size())}, values));
  };
  const ValueId batch = b.graph.add_node("Gather", {b.graph.add_node("Shape", {x}), integers({0})});
  const ValueId shape =
      b.graph.add_node("Concat", {batch, integers({512})}, {{"axis", int64_t{0}}});
  const ValueId flat = b.graph.add_node("Reshape", {y, shape});
  b.graph.set_outputs({b.graph.add_node("Gemm", {flat, b.weight("fc.w", {5, 512})},
                                        {{"transB", int64_t{1}}}, "fc")});
  Removal r(b.graph, "one", 2);
  const auto [before, after] = errors(r, random_images(64, 3, 8));
  EXPECT_LT(after, before);
  EXPECT_GT(r.pruned.order().size(), r.original.order().size());
}

TEST(Reconstruct, SolvesWithFewerRowsThanInputs) {
  Builder b;
  ValueId x = b.relu(b.conv(b.image(3, 8), 8, 3, "one"));
  x = b.graph.add_node("Flatten", {x});
  x = b.graph.add_node("Gemm", {x, b.weight("fc.w", {5, 512})}, {{"transB", int64_t{1}}}, "fc");
  b.graph.set_outputs({x});
  Removal r(b.graph, "one", 2);
  const auto [before, after] = errors(r, random_images(64, 3, 8));
  EXPECT_LT(after, before);
}

TEST(Reconstruct, UsesFewerSamplesWhenMemoryIsShort) {
  Removal r(small_resnet(), "a1", 4);
  std::vector<std::string> warnings;
  const Dataset data = random_images(64, 3, 8);
  const PassContext context{.data = &data,
                            .warn = [&](const std::string& text) { warnings.push_back(text); }};
  const auto surviving = [&](Dim dim) {
    return r.slots.surviving(dim, [&](uint32_t group) { return r.doomed.contains(group); });
  };
  const ReconstructResult result =
      reconstruct(r.original, r.pruned, surviving, {.max_memory = 300000}, context);
  EXPECT_LT(result.samples, 64);
  EXPECT_GT(result.samples, 0);
  EXPECT_EQ(warnings.size(), 1u);
}

/// Memory that holds three quarters of `samples` as they are.
int64_t scarce_memory(const Removal& r, int64_t samples) {
  int64_t kept = 0;
  for (const LockstepBytes& entry : lockstep_bytes(r.original, r.pruned, {}))
    kept = std::max(kept, entry.kept);
  return 4 * samples * kept * 3 / 4;  // Samples get a quarter.
}

TEST(Reconstruct, PacksSamplesBeforeItLeavesAnyOut) {
  Removal free(small_resnet(), "a1", 4), scarce(small_resnet(), "a1", 4);
  const Dataset data = random_images(256, 3, 8);
  refit(free, data);
  EXPECT_EQ(refit(scarce, data, {.max_memory = scarce_memory(scarce, 256)}).samples, 256);
  EXPECT_FALSE(identical(weight_of(free.pruned, "fc.w"), weight_of(scarce.pruned, "fc.w")));
  EXPECT_LT(relative_difference(weight_of(free.pruned, "fc.w"), weight_of(scarce.pruned, "fc.w")),
            0.01);
}

TEST(Reconstruct, IsTheSameAtAnyNumberOfThreadsWhenMemoryIsShort) {
  std::vector<Tensor> weights;
  for (const int threads : {1, 5}) {
    Removal r(small_resnet(), "a1", 4);
    const Dataset data = random_images(64, 3, 8);
    const PassContext context{.data = &data, .threads = threads};
    const auto surviving = [&](Dim dim) {
      return r.slots.surviving(dim, [&](uint32_t group) { return r.doomed.contains(group); });
    };
    reconstruct(r.original, r.pruned, surviving, {.max_memory = 300000}, context);
    weights.push_back(weight_of(r.pruned, "fc.w"));
  }
  EXPECT_TRUE(identical(weights[0], weights[1]));
}

MemoryDemand demand(int64_t kept, int64_t in_work, int64_t fit = 0) {
  return {.sample = {{.kept = kept, .in_work = in_work}}, .fit = {fit}};
}

TEST(MemoryPlan, LeavesThingsAsTheyAreWhereThereIsRoom) {
  const MemoryPlan plan =
      plan_memory(demand(1000, 100), {.samples = 512, .batch = 8, .threads = 4}, 1 << 20);
  EXPECT_EQ(plan.samples, 512);
  EXPECT_EQ(plan.batch, 8);
  EXPECT_EQ(plan.threads, 4);
  EXPECT_FALSE(plan.packed);
}

TEST(MemoryPlan, WhatIsPlannedStaysBelowTheBound) {
  constexpr int64_t kMemory = 1 << 20;
  for (const int64_t fit : {0, 200000, 600000}) {
    const MemoryDemand asked = demand(2000, 500, fit);
    const MemoryPlan plan =
        plan_memory(asked, {.samples = 4096, .batch = 8, .threads = 64}, kMemory);
    EXPECT_LT(plan.samples, 4096);
    EXPECT_GT(plan.samples, 64);
    EXPECT_TRUE(plan.packed);
    EXPECT_LE(plan.samples * 1000 + fit + plan.threads * plan.batch * 500, kMemory) << fit;
  }
}

TEST(MemoryPlan, MakesBatchesSmallerWhereOneIsTooLarge) {
  const MemoryPlan wanted{.samples = 512, .batch = 8, .threads = 2};
  MemoryDemand asked = demand(1000, 5000);
  EXPECT_EQ(plan_memory(asked, wanted, 1 << 20).batch, 2);
  asked.fixed_batch = true;
  EXPECT_EQ(plan_memory(asked, wanted, 1 << 20).batch, 8);
}

TEST(MemoryPlan, DependsOnTheThreadsInNothingButThreads) {
  const MemoryDemand asked = demand(3000, 4000, 100000);
  const MemoryPlan one = plan_memory(asked, {.samples = 512, .batch = 8, .threads = 1}, 1 << 20);
  const MemoryPlan many = plan_memory(asked, {.samples = 512, .batch = 8, .threads = 99}, 1 << 20);
  EXPECT_EQ(one.samples, many.samples);
  EXPECT_EQ(one.batch, many.batch);
  EXPECT_EQ(one.packed, many.packed);
}

TEST(Reconstruct, StopsWhenTheUserAsks) {
  Removal r(small_resnet(), "a1", 4);
  const Dataset data = random_images(16, 3, 8);
  const std::atomic<bool> cancelled = true;
  PassContext context{.data = &data};
  context.progress.cancelled = &cancelled;
  const auto surviving = [&](Dim dim) {
    return r.slots.surviving(dim, [&](uint32_t group) { return r.doomed.contains(group); });
  };
  EXPECT_THROW(reconstruct(r.original, r.pruned, surviving, {}, context), Error);
}

/// Squared error of what enters the classifier, on images nothing was fitted to.
double squared_error(const Removal& r) {
  const Tensor x = random_tensor({128, 3, 8, 8}, 1234);
  const Tensor a = execute(r.original, {x})[0], b = execute(r.pruned, {x})[0];
  double sum = 0;
  for (size_t i = 0; i < a.data<float>().size(); ++i)
    sum += std::pow(static_cast<double>(a.data<float>()[i] - b.data<float>()[i]), 2);
  return sum;
}

TEST(Reconstruct, BetteredProducersReduceTheErrorFurther) {
  Removal plain(small_resnet(), "a1", 6), bettered(small_resnet(), "a1", 6);
  const Dataset data = random_images(512, 3, 8);
  refit(plain, data);
  EXPECT_GT(refit(bettered, data, {.producer_steps = 4}).producers, 0);
  verify(bettered.pruned);
  EXPECT_LT(squared_error(bettered), 0.95 * squared_error(plain));
}

/// A producer before a pair of branches that meet in a concatenation, and squeeze-excite behind.
Graph branching_network() {
  Builder b;
  const ValueId x = b.relu(b.conv(b.image(3, 8), 8, 3, "stem"));
  const ValueId joined = b.graph.add_node(
      "Concat", {b.relu(b.conv(x, 8, 1, "left")), b.relu(b.conv(x, 8, 3, "right"))},
      {{"axis", int64_t{1}}});
  const ValueId mixed = b.conv(joined, 12, 1, "mix");
  const ValueId swish = b.graph.add_node("Mul", {mixed, b.graph.add_node("Sigmoid", {mixed})});
  const ValueId gate = b.graph.add_node(
      "Sigmoid", {b.conv(b.relu(b.conv(b.graph.add_node("GlobalAveragePool", {swish}), 4, 1, "s")),
                         12, 1, "e")});
  const ValueId scaled = b.graph.add_node("Mul", {swish, gate});
  b.graph.set_outputs({b.head(b.relu(b.conv(scaled, 8, 3, "last")), 5)});
  return std::move(b.graph);
}

TEST(SoleProducers, AreFoundThroughConcatenationsAndGates) {
  const Graph graph = branching_network();
  const auto names = [&](const std::string& consumer) {
    std::multiset<std::string> names;
    for (NodeId id : graph.order()) {
      if (graph.node(id).name != consumer) continue;
      for (const ProducerPath& path : sole_producers(graph, id))
        names.insert(graph.node(path.producer).name);
    }
    return names;
  };
  EXPECT_EQ(names("mix"), (std::multiset<std::string>{"left", "right"}));
  EXPECT_EQ(names("last"), (std::multiset<std::string>{"mix", "s", "e"}));
  EXPECT_EQ(names("left"), (std::multiset<std::string>{}));  // "right" reads the stem too.
  EXPECT_EQ(names("fc"), (std::multiset<std::string>{"last"}));
}

TEST(Reconstruct, BettersProducersOnBranchesOneAfterTheOther) {
  Removal plain(branching_network(), "left", 4), bettered(branching_network(), "left", 4);
  const Dataset data = random_images(256, 3, 8);
  refit(plain, data);
  EXPECT_GT(refit(bettered, data, {.producer_steps = 3}).producers, 2);
  verify(bettered.pruned);
  EXPECT_LT(squared_error(bettered), 0.98 * squared_error(plain));
}

}  // namespace
}  // namespace pare
