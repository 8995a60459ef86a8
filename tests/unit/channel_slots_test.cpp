#include "ir/channel_slots.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pare {
namespace {

// A table of its own, so that the IR is tested without the operators of ONNX.
std::vector<TensorType> same(const Node&, Operands in) { return {*in[0].type}; }

void tie_axis_1(const Graph&, const Node& node, ChannelSlots& slots) {
  slots.tie({node.inputs[0], 1}, {node.outputs[0], 1});
  slots.fix_rest(node.inputs[0]);
  slots.fix_rest(node.outputs[0]);
}

void tie_nothing(const Graph&, const Node&, ChannelSlots&) {}

constexpr OpDef kPass{.name = "PassOn", .infer = same, .tie = tie_axis_1};
constexpr OpDef kSilent{.name = "Silent", .infer = same, .tie = tie_nothing};
constexpr OpDef kBlocking{.name = "Blocking", .infer = same};
constexpr const OpDef* kRows[] = {&kPass, &kSilent, &kBlocking};

const OpTable& table() {
  static const OpTable kTable{kRows};
  return kTable;
}

/// weight [1,4] -> PassOn -> `op` -> output.
Graph chain(std::string_view op) {
  Graph graph(table());
  const ValueId w = graph.add_constant("w", Tensor(DType::kF32, {1, 4}));
  const ValueId y = graph.add_node("PassOn", {w}, {}, "first");
  graph.set_outputs({graph.add_node(op, {y}, {}, "last")});
  return graph;
}

TEST(ChannelSlots, TiedIndicesShareAGroup) {
  const Graph graph = chain("PassOn");
  const ChannelSlots slots = ChannelSlots::analyze(graph);
  const Dim w{ValueId{0}, 1}, y{graph.outputs()[0], 1};
  EXPECT_EQ(slots.group_of(w, 2), slots.group_of(y, 2));
  EXPECT_NE(slots.group_of(w, 2), slots.group_of(w, 3));
}

TEST(ChannelSlots, TheInterfacePinsAndSaysSo) {
  const Graph graph = chain("PassOn");
  const ChannelSlots slots = ChannelSlots::analyze(graph);
  const uint32_t group = slots.group_of({ValueId{0}, 1}, 0);
  ASSERT_TRUE(slots.pinned(group));
  EXPECT_EQ(slots.pin(group), "axis 1 of 'last_out' is part of the model's interface");
}

TEST(ChannelSlots, AnOpenedOutputAxisIsFree) {
  const Graph graph = chain("PassOn");
  const ChannelSlots slots = ChannelSlots::analyze(graph, {{graph.outputs()[0], 1}});
  EXPECT_FALSE(slots.pinned(slots.group_of({ValueId{0}, 1}, 0)));
}

TEST(ChannelSlots, AnOpWithoutATieRulePinsAndIsNamed) {
  const Graph graph = chain("Blocking");
  const ChannelSlots slots = ChannelSlots::analyze(graph, {{graph.outputs()[0], 1}});
  EXPECT_EQ(slots.pin(slots.group_of({ValueId{0}, 1}, 0)),
            "node 'last' (Blocking) fixes axis 1 of 'first_out'");
}

TEST(ChannelSlots, ARuleThatIsSilentAboutAnAxisIsABug) {
  const Graph graph = chain("Silent");
  try {
    (void)ChannelSlots::analyze(graph);
    FAIL() << "must throw";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInternal);
    EXPECT_THAT(error.what(), testing::HasSubstr("says nothing about axis"));
  }
}

TEST(ChannelSlots, StridedTieUnitesEveryCopyOfAMiddleAxis) {
  Graph graph(table());
  const ValueId a = graph.add_constant("a", Tensor(DType::kF32, {2}));
  const ValueId b = graph.add_constant("b", Tensor(DType::kF32, {12}));
  ChannelSlots slots = ChannelSlots::analyze(graph);
  slots.tie_strided({a, 0}, {b, 0}, 3);  // b = (2 outer, a, 3 inner)
  for (const int64_t j : {0, 1, 2, 6, 7, 8})
    EXPECT_EQ(slots.group_of({a, 0}, 0), slots.group_of({b, 0}, j));
  EXPECT_NE(slots.group_of({b, 0}, 2), slots.group_of({b, 0}, 3));
}

}  // namespace
}  // namespace pare
