#include <gtest/gtest.h>

#include "exec/interpreter.h"
#include "ir/channel_slots.h"
#include "ops/ops.h"

namespace pare {
namespace {

Graph one_relu() {
  Graph graph(onnx_ops());
  const ValueId x = graph.add_input("x", {DType::kF32, {2, 3}});
  graph.set_outputs({graph.add_node("Relu", {x}, {}, "act")});
  return graph;
}

TEST(Graph, CopiesShareWeightsAndKeepIds) {
  Graph graph = one_relu();
  const ValueId w = graph.add_constant("w", Tensor({2}, std::vector<float>{1, 2}));
  const Graph copy = graph;
  EXPECT_EQ(copy.value(w).constant, graph.value(w).constant);
}

TEST(Graph, SettingTheSameAttributeIsNoChange) {
  Graph graph = one_relu();
  graph.set_attribute(graph.order()[0], "alpha", int64_t{1});
  const uint64_t revision = graph.revision();
  graph.set_attribute(graph.order()[0], "alpha", int64_t{1});
  EXPECT_EQ(graph.revision(), revision);
}

TEST(Graph, ReplacedOutputKeepsItsName) {
  Graph graph = one_relu();
  const ValueId old_output = graph.outputs()[0];
  const std::string name = graph.value(old_output).name;
  const ValueId other = graph.add_node("Relu", {graph.inputs()[0]}, {}, "other");
  graph.replace_uses(old_output, other);
  EXPECT_EQ(graph.value(graph.outputs()[0]).name, name);
  verify(graph);
}

TEST(Graph, PrintsOneLineANode) {
  EXPECT_EQ(to_text(one_relu()),
            "input x: f32[2,3]\nact_out: f32[2,3] = Relu(x)\noutput act_out: f32[2,3]\n");
}

TEST(Interpreter, RunsAnotherBatchThanTheInferredOne) {
  const std::vector<Tensor> y = execute(one_relu(), {Tensor({1, 3}, std::vector<float>{-1, 0, 2})});
  EXPECT_EQ(y[0].shape(), (Shape{1, 3}));
  EXPECT_EQ(y[0].data<float>()[0], 0.0f);
  EXPECT_EQ(y[0].data<float>()[2], 2.0f);
}

}  // namespace
}  // namespace pare
