#include "passes/upgrade_opset.h"

#include <gtest/gtest.h>

#include "pruning_graphs.h"

namespace pare {
namespace {

Graph clip_of_opset_7() {
  Graph graph(onnx_ops());
  graph.set_opset("", 7);
  const ValueId x = graph.add_input("x", {DType::kF32, {2, 3}});
  graph.set_outputs({graph.add_node("Clip", {x}, {{"min", 0.0f}, {"max", 6.0f}}, "clip")});
  return graph;
}

TEST(UpgradeOpset, RewritesNodesWhoseFormChanged) {
  Graph graph = clip_of_opset_7();
  upgrade_opset(graph, 13);
  verify(graph);
  const Node& clip = graph.node(graph.order()[0]);
  EXPECT_EQ(graph.opset(), 13);
  EXPECT_EQ(clip.opset, 13);
  EXPECT_FALSE(clip.has_attribute("min"));
  ASSERT_EQ(clip.inputs.size(), 3u);
  EXPECT_EQ(graph.constant(clip.inputs[2])->data<float>()[0], 6.0f);
}

TEST(UpgradeOpset, LeavesANewerModelAlone) {
  Graph graph = small_resnet();
  const uint64_t revision = graph.revision();
  upgrade_opset(graph, 13);
  EXPECT_EQ(graph.revision(), revision);
  EXPECT_EQ(graph.opset(), 17);
}

TEST(UpgradeOpset, NamesAnUnknownOperatorAndChangesNothing) {
  Graph graph = clip_of_opset_7();
  Node node;
  node.name = "mystery";
  node.op = "NoSuchOp";
  node.opset = 7;
  node.inputs = {graph.outputs()[0]};
  node.outputs = {graph.add_value({.name = "y", .type = TensorType::unknown()})};
  graph.add_imported_node(std::move(node), false);
  const uint64_t revision = graph.revision();
  try {
    upgrade_opset(graph, 13);
    FAIL() << "must throw";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUnsupported);
    EXPECT_NE(std::string(error.what()).find("mystery"), std::string::npos);
  }
  EXPECT_EQ(graph.revision(), revision);
}

TEST(UpgradeOpset, OtherDomainsMayStayAsTheyAre) {
  Graph graph = clip_of_opset_7();
  Node node;
  node.name = "custom";
  node.domain = "com.example";
  node.op = "NoSuchOp";
  node.opset = 1;
  node.inputs = {graph.outputs()[0]};
  node.outputs = {graph.add_value({.name = "y", .type = TensorType::unknown()})};
  const NodeId id = graph.add_imported_node(std::move(node), false);
  upgrade_opset(graph, 13);
  EXPECT_EQ(graph.node(id).opset, 1);
}

}  // namespace
}  // namespace pare
