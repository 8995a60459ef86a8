// Lineage: where nodes and values of the original are after passes; layers measured by it.

#include "ir/lineage.h"

#include <gmock/gmock.h>

#include "passes/fold_batch_norm.h"
#include "passes/fold_constants.h"
#include "passes/measure_layers.h"
#include "passes/prune_channels.h"
#include "passes/quantize_int8.h"
#include "passes/remove_identity.h"
#include "passes/remove_slots.h"
#include "pruning_graphs.h"

namespace pare {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

/// Runs a pass and follows it.
void step(Graph& graph, Lineage& lineage, Pass& pass, const Dataset* data = nullptr) {
  const Graph before = graph;
  PassContext context{.data = data};
  pass.run(graph, context);
  lineage.follow(before, graph, std::string(pass.name()));
}

NodeId find(const Graph& graph, const std::string& name) {
  for (const NodeId id : graph.order())
    if (graph.node(id).name == name) return id;
  throw Error(ErrorKind::kInternal, "no node is called " + name);
}

std::vector<std::string> origins(const Graph& original, const Graph& graph, const Lineage& lineage,
                                 const std::string& name) {
  std::vector<std::string> names;
  for (const NodeId id : lineage.origins(find(graph, name)))
    names.push_back(original.node(id).name);
  return names;
}

/// Conv, BatchNormalization, Identity, Relu.
Graph conv_norm() {
  Builder b;
  ValueId x = b.conv(b.image(3, 8), 4, 3, "conv");
  std::vector<ValueId> operands = {x};
  for (const char* name : {"scale", "shift", "mean", "var"})
    operands.push_back(b.graph.add_constant(name, Tensor({4}, std::vector<float>{1, 2, 3, 4})));
  x = b.graph.add_node("BatchNormalization", operands, {}, "norm");
  x = b.graph.add_node("Identity", {x}, {}, "same");
  b.graph.set_outputs({b.graph.add_node("Relu", {x}, {}, "act")});
  return std::move(b.graph);
}

TEST(Lineage, AConvStandsForTheBatchNormThatWasFoldedIntoIt) {
  const Graph original = conv_norm();
  Graph graph = original;
  Lineage lineage(graph);
  step(graph, lineage, *make_fold_batch_norm());
  EXPECT_THAT(origins(original, graph, lineage, "conv"), ElementsAre("conv", "norm"));
  EXPECT_THAT(origins(original, graph, lineage, "same"), ElementsAre("same"));
  step(graph, lineage, *make_remove_identity());
  EXPECT_THAT(origins(original, graph, lineage, "conv"), ElementsAre("conv", "norm", "same"));
  EXPECT_THAT(origins(original, graph, lineage, "act"), ElementsAre("act"));
  EXPECT_THAT(lineage.removed(), IsEmpty());
  const ValueId norm_out = original.node(find(original, "norm")).outputs[0];
  ASSERT_TRUE(lineage.heir(norm_out));
  EXPECT_EQ(*lineage.heir(norm_out), graph.node(find(graph, "conv")).outputs[0]);
  EXPECT_FALSE(lineage.heir(original.node(find(original, "conv")).outputs[0]))
      << "what the conv gave before the norm is nowhere any more";
}

TEST(Lineage, WhatBecameAConstantStandsInThoseThatReadIt) {
  Builder b;
  const ValueId x = b.image(3, 8);
  const ValueId one = b.graph.add_constant("one", Tensor({1}, std::vector<float>{1}));
  const ValueId two = b.graph.add_node("Add", {one, one}, {}, "sum");
  b.graph.set_outputs({b.graph.add_node("Mul", {x, two}, {}, "scale")});
  const Graph original = b.graph;
  Graph graph = original;
  Lineage lineage(graph);
  step(graph, lineage, *make_fold_constants());
  EXPECT_THAT(origins(original, graph, lineage, "scale"), ElementsAre("sum", "scale"));
}

TEST(Lineage, WhatNothingUsesIsRemoved) {
  Graph graph = conv_norm();
  const ValueId image = graph.inputs()[0];
  graph.add_node("Sigmoid", {image}, {}, "dead");
  const Graph original = graph;
  Lineage lineage(graph);
  graph.remove_node(find(graph, "dead"));
  lineage.follow(original, graph, "tidy");
  ASSERT_EQ(lineage.removed().size(), 1u);
  EXPECT_EQ(original.node(lineage.removed().begin()->first).name, "dead");
  EXPECT_EQ(lineage.removed().begin()->second, "tidy");
}

TEST(Lineage, NodesOfAPassStandForNothingAndReadersTellWhatAValueIsNow) {
  const Graph original = small_resnet();
  const Dataset data = random_images(8, 3, 8);
  Graph graph = original;
  Lineage lineage(graph);
  step(graph, lineage, *make_quantize_int8({}), &data);
  for (const NodeId id : graph.order()) {
    const bool made = graph.node(id).op.ends_with("QuantizeLinear") ||
                      graph.node(id).op.ends_with("quantizeLinear");
    EXPECT_EQ(lineage.made_by(id), made ? "quantize-int8" : "") << graph.node(id).name;
    EXPECT_EQ(lineage.origins(id).empty(), made) << graph.node(id).name;
  }
  const ValueId stem = original.node(find(original, "a1")).inputs[0];
  ASSERT_TRUE(lineage.heir(stem));
  const NodeId maker = *graph.value(*lineage.heir(stem)).producer;
  EXPECT_EQ(graph.node(maker).op, "DequantizeLinear");
}

/// Removes a channel of what node `name` makes.
void cut(Graph& graph, Lineage& lineage, const std::string& name, int64_t channel) {
  const Graph before = graph;
  const ValueId result = graph.node(find(graph, name)).outputs[0];
  const ChannelSlots slots = ChannelSlots::analyze(graph);
  const uint32_t doomed = slots.group_of({result, 1}, channel);
  remove_slots(graph, slots, [&](uint32_t g) { return g == doomed; });
  lineage.follow(before, graph, "cut");
}

TEST(Lineage, WhatIsLeftOfAValueIsCountedAsItWas) {
  const Graph original = small_resnet();
  Graph graph = original;
  Lineage lineage(graph);
  const ValueId inner = original.node(find(original, "a1")).outputs[0];
  cut(graph, lineage, "a1", 4);
  cut(graph, lineage, "a1", 4);
  cut(graph, lineage, "a1", 0);
  EXPECT_EQ(lineage.heir(inner), inner);
  EXPECT_THAT(lineage.survivors(inner),
              ElementsAre(std::pair(1, std::vector<int64_t>{1, 2, 3, 6, 7, 8, 9, 10, 11})));
  const ValueId behind = original.node(find(original, "a2")).outputs[0];
  EXPECT_THAT(lineage.survivors(behind), IsEmpty());
}

TEST(MeasureLayers, OfALayerThatLostChannelsThoseThatAreLeftAreCompared) {
  const Graph original = small_resnet();
  const Dataset data = random_images(8, 3, 8);
  Graph graph = original;
  Lineage lineage(graph);
  cut(graph, lineage, "a1", 4);
  const auto measured = measure_layers(original, graph, lineage, data, {.samples = 8});
  ASSERT_EQ(measured.size(), 6u) << "stem, two blocks of two, the classifier";
  EXPECT_EQ(measured[0].layer, find(original, "stem"));
  EXPECT_GT(measured[0].result.sqnr_db, 100) << "before the cut nothing changed";
  EXPECT_EQ(measured[0].result.elements, 8 * 8 * 8 * 8);
  EXPECT_EQ(measured[1].layer, find(original, "a1"));
  EXPECT_EQ(measured[1].result.elements, 8 * 11 * 8 * 8);
  EXPECT_GT(measured[1].result.sqnr_db, 100) << "what is left of it is what it was";
  EXPECT_EQ(measured[2].layer, find(original, "a2"));
  EXPECT_LT(measured[2].result.sqnr_db, 60) << "what the channel fed is not what it was";
  uint64_t weights = 0;
  for (const uint64_t n : measured[2].weights_now.counts) weights += n;
  EXPECT_EQ(weights, 8u * 11 * 9);
}

TEST(MeasureLayers, APrunedAndQuantizedNetworkIsMeasuredWhole) {
  const Graph original = small_resnet();
  const Dataset data = random_images(16, 3, 8);
  Graph graph = original;
  Lineage lineage(graph);
  step(graph, lineage, *make_prune_channels({.budget = {.amount = 0.3}}), &data);
  step(graph, lineage, *make_quantize_int8({}), &data);
  const auto measured = measure_layers(original, graph, lineage, data, {.samples = 8});
  ASSERT_EQ(measured.size(), 6u);
  int64_t elements = 0;
  for (const LayerMeasure& layer : measured) elements += layer.result.elements;
  const auto whole = measure_layers(original, original, Lineage(original), data, {.samples = 8});
  int64_t all = 0;
  for (const LayerMeasure& layer : whole) all += layer.result.elements;
  EXPECT_LT(elements, all) << "channels went";
  EXPECT_LT(measured.back().result.sqnr_db, 100) << "so did exactness";
}

TEST(MeasureLayers, AFoldedLayerIsMeasuredBehindItsNorm) {
  const Graph original = conv_norm();
  const Dataset data = random_images(4, 3, 8);
  Graph graph = original;
  Lineage lineage(graph);
  step(graph, lineage, *make_fold_batch_norm());
  const auto measured = measure_layers(original, graph, lineage, data, {.samples = 4});
  ASSERT_EQ(measured.size(), 1u);
  EXPECT_GT(measured[0].result.sqnr_db, 100);
}

}  // namespace
}  // namespace pare
