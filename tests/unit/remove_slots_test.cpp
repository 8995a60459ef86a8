#include "passes/remove_slots.h"

#include <gtest/gtest.h>

#include <set>

#include "exec/interpreter.h"
#include "pruning_graphs.h"

namespace pare {
namespace {

/// Groups of the first `count` channels of the node's output.
std::set<uint32_t> first_channels(const Graph& graph, const ChannelSlots& slots,
                                  const std::string& node, int64_t count) {
  std::set<uint32_t> groups;
  for (NodeId id : graph.order()) {
    if (graph.node(id).name != node) continue;
    for (int64_t i = 0; i < count; ++i)
      groups.insert(slots.group_of({graph.node(id).outputs[0], 1}, i));
  }
  return groups;
}

TEST(RemoveSlots, ShrinksProducerBiasAndConsumer) {
  Graph graph = small_resnet();
  const ChannelSlots slots = ChannelSlots::analyze(graph);
  const std::set<uint32_t> doomed = first_channels(graph, slots, "a1", 3);
  Graph pruned = graph;
  EXPECT_EQ(remove_slots(pruned, slots, [&](uint32_t g) { return doomed.contains(g); }), 9);
  verify(pruned);
  EXPECT_EQ(weight_of(pruned, "a1.w").shape(), (Shape{9, 8, 3, 3}));
  EXPECT_EQ(weight_of(pruned, "a1.b").shape(), (Shape{9}));
  EXPECT_EQ(weight_of(pruned, "a2.w").shape(), (Shape{8, 9, 3, 3}));
}

TEST(RemoveSlots, ResidualStreamsShrinkAsOne) {
  Graph graph = small_resnet();
  const ChannelSlots slots = ChannelSlots::analyze(graph);
  const std::set<uint32_t> doomed = first_channels(graph, slots, "a2", 2);
  Graph pruned = graph;
  remove_slots(pruned, slots, [&](uint32_t g) { return doomed.contains(g); });
  verify(pruned);
  for (const std::string name : {"stem.w", "a2.w", "b2.w"})
    EXPECT_EQ(weight_of(pruned, name).shape()[0], 6) << name;
  EXPECT_EQ(weight_of(pruned, "fc.w").shape(), (Shape{5, 6}));
}

TEST(RemoveSlots, KeepsTheShapesOfTheInterface) {
  Graph graph = small_resnet();
  const ChannelSlots slots = ChannelSlots::analyze(graph);
  const std::set<uint32_t> doomed = first_channels(graph, slots, "b1", 5);
  Graph pruned = graph;
  remove_slots(pruned, slots, [&](uint32_t g) { return doomed.contains(g); });
  EXPECT_EQ(pruned.shape(pruned.inputs()[0]), graph.shape(graph.inputs()[0]));
  EXPECT_EQ(pruned.shape(pruned.outputs()[0]), graph.shape(graph.outputs()[0]));
}

TEST(RemoveSlots, RefusesPinnedGroups) {
  Graph graph = small_resnet();
  const ChannelSlots slots = ChannelSlots::analyze(graph);
  const uint32_t pinned = slots.group_of({graph.outputs()[0], 1}, 0);
  EXPECT_THROW(remove_slots(graph, slots, [&](uint32_t g) { return g == pinned; }), Error);
}

TEST(RemoveSlots, RefusesToEmptyAnAxis) {
  Graph graph = small_resnet();
  const ChannelSlots slots = ChannelSlots::analyze(graph);
  const std::set<uint32_t> doomed = first_channels(graph, slots, "a1", 12);
  EXPECT_THROW(remove_slots(graph, slots, [&](uint32_t g) { return doomed.contains(g); }), Error);
}

TEST(RemoveSlots, NothingDoomedIsNoChange) {
  Graph graph = small_resnet();
  const ChannelSlots slots = ChannelSlots::analyze(graph);
  const uint64_t revision = graph.revision();
  EXPECT_EQ(remove_slots(graph, slots, [](uint32_t) { return false; }), 0);
  EXPECT_EQ(graph.revision(), revision);
}

}  // namespace
}  // namespace pare
