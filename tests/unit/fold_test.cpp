// The exact passes: fold-constants, remove-dead-nodes, remove-identity, fold-batch-norm.

#include <gtest/gtest.h>

#include <cmath>

#include "calib/compare.h"
#include "exec/interpreter.h"
#include "ops/ops.h"
#include "passes/fold_batch_norm.h"
#include "passes/fold_constants.h"
#include "passes/remove_dead_nodes.h"
#include "passes/remove_identity.h"

namespace pare {
namespace {

/// Numbers between -1 and 1 that look random and are the same every time.
Tensor noise(Shape shape, uint32_t seed) {
  Tensor tensor(DType::kF32, std::move(shape));
  for (float& x : tensor.mutable_data<float>()) {
    seed = seed * 1664525u + 1013904223u;
    x = static_cast<float>(seed >> 8) / 8388608.0f - 1.0f;
  }
  return tensor;
}

Tensor positive(Shape shape, uint32_t seed) {
  Tensor tensor = noise(std::move(shape), seed);
  for (float& x : tensor.mutable_data<float>()) x = std::abs(x) + 0.1f;
  return tensor;
}

Graph empty_graph() {
  Graph graph(onnx_ops());
  graph.set_opset("", 13);
  return graph;
}

PassStats run(std::unique_ptr<Pass> pass, Graph& graph) {
  PassContext context;
  PassStats stats = pass->run(graph, context);
  verify(graph);
  return stats;
}

int64_t count(const PassStats& stats, const std::string& key) {
  return std::get<int64_t>(stats.at(key));
}

/// Names of the operators, in order.
std::string ops(const Graph& graph) {
  std::string text;
  for (const NodeId id : graph.order()) text += (text.empty() ? "" : " ") + graph.node(id).op;
  return text;
}

double difference(const Graph& a, const Graph& b, const Tensor& x) {
  return compare_outputs(execute(a, {x}), execute(b, {x})).max_relative_error;
}

ValueId add_norm(Graph& graph, ValueId x, int64_t channels, uint32_t seed) {
  return graph.add_node("BatchNormalization",
                        {x, graph.add_constant("scale", noise({channels}, seed)),
                         graph.add_constant("bias", noise({channels}, seed + 1)),
                         graph.add_constant("mean", noise({channels}, seed + 2)),
                         graph.add_constant("var", positive({channels}, seed + 3))},
                        {}, "norm");
}

// -- fold-constants ------------------------------------------------------------------------------

TEST(FoldConstants, ComputesWhatDependsOnConstantsOnly) {
  Graph graph = empty_graph();
  const ValueId x = graph.add_input("x", {DType::kF32, {2}});
  const ValueId a = graph.add_constant("a", noise({2}, 1));
  const ValueId b = graph.add_node("Add", {a, a}, {}, "twice");
  graph.set_outputs({graph.add_node("Mul", {x, b}, {}, "out")});
  const Graph before = graph;
  EXPECT_EQ(count(run(make_fold_constants(), graph), "nodes folded"), 1);
  EXPECT_EQ(ops(graph), "Mul");
  EXPECT_EQ(difference(before, graph, noise({2}, 2)), 0);
}

TEST(FoldConstants, ShapeArithmeticOfFixedExtentsIsFoldedAndOfSymbolicOnesIsNot) {
  for (const bool symbolic : {false, true}) {
    Graph graph = empty_graph();
    const ValueId x = symbolic ? graph.add_input("x", {DType::kF32, {1, 4}}, {"N", ""})
                               : graph.add_input("x", {DType::kF32, {1, 4}});
    const ValueId shape = graph.add_node("Shape", {x}, {}, "shape");
    const ValueId r = graph.add_node("Reshape", {x, shape}, {}, "reshape");
    graph.set_outputs({graph.add_node("Relu", {r}, {}, "act")});
    run(make_fold_constants(), graph);
    EXPECT_EQ(ops(graph), symbolic ? "Shape Reshape Relu" : "Reshape Relu");
  }
}

TEST(FoldConstants, AnOutputOfTheModelStaysComputed) {
  Graph graph = empty_graph();
  graph.add_input("x", {DType::kF32, {2}});
  const ValueId a = graph.add_constant("a", noise({2}, 1));
  graph.set_outputs({graph.add_node("Relu", {a}, {}, "act")});
  const uint64_t revision = graph.revision();
  run(make_fold_constants(), graph);
  EXPECT_EQ(graph.revision(), revision);
}

TEST(FoldConstants, DoesNotBlowTheModelUp) {
  Graph graph = empty_graph();
  const ValueId x = graph.add_input("x", {DType::kF32, {1024, 1024}});
  const ValueId a = graph.add_constant("a", noise({1, 1}, 1));
  const ValueId shape = graph.add_constant("shape", Tensor({2}, std::vector<int64_t>{1024, 1024}));
  const ValueId large = graph.add_node("Expand", {a, shape}, {}, "expand");
  graph.set_outputs({graph.add_node("Add", {x, large}, {}, "out")});
  EXPECT_EQ(count(run(make_fold_constants(), graph), "nodes too large to fold"), 1);
  EXPECT_EQ(ops(graph), "Expand Add");
}

TEST(FoldConstants, DequantizedWeightsStayInt8) {
  Graph graph = empty_graph();
  const ValueId x = graph.add_input("x", {DType::kF32, {2}});
  const ValueId q = graph.add_constant("q", Tensor({2}, std::vector<int8_t>{1, 2}));
  const ValueId s = graph.add_constant("s", Tensor::scalar(0.5f));
  const ValueId w = graph.add_node("DequantizeLinear", {q, s}, {}, "dq");
  graph.set_outputs({graph.add_node("Mul", {x, w}, {}, "out")});
  EXPECT_EQ(count(run(make_fold_constants(), graph), "nodes folded"), 0);
}

// -- remove-dead-nodes ---------------------------------------------------------------------------

TEST(RemoveDeadNodes, RemovesWholeBranches) {
  Graph graph = empty_graph();
  const ValueId x = graph.add_input("x", {DType::kF32, {2}});
  graph.add_node("Relu", {graph.add_node("Relu", {x}, {}, "a")}, {}, "b");
  graph.set_outputs({graph.add_node("Relu", {x}, {}, "c")});
  EXPECT_EQ(count(run(make_remove_dead_nodes(), graph), "nodes removed"), 2);
  EXPECT_EQ(ops(graph), "Relu");
}

// -- remove-identity -----------------------------------------------------------------------------

TEST(RemoveIdentity, RemovesWhatHandsItsOperandOn) {
  Graph graph = empty_graph();
  const ValueId x = graph.add_input("x", {DType::kF32, {1, 4}});
  ValueId y = graph.add_node("Identity", {x}, {}, "identity");
  y = graph.add_node("Dropout", {y}, {}, "dropout");
  y = graph.add_node("Cast", {y}, {{"to", int64_t{1}}}, "cast");
  y = graph.add_node("Transpose", {y}, {{"perm", std::vector<int64_t>{0, 1}}}, "transpose");
  const ValueId shape = graph.add_constant("shape", Tensor({2}, std::vector<int64_t>{1, -1}));
  y = graph.add_node("Reshape", {y, shape}, {}, "reshape");
  y = graph.add_node("Concat", {y}, {{"axis", int64_t{1}}}, "concat");
  graph.set_outputs({graph.add_node("Relu", {y}, {}, "act")});
  EXPECT_EQ(count(run(make_remove_identity(), graph), "nodes removed"), 6);
  EXPECT_EQ(to_text(graph),
            "input x: f32[1,4]\nact_out: f32[1,4] = Relu(x)\noutput act_out: f32[1,4]\n");
}

TEST(RemoveIdentity, KeepsWhatChangesSomething) {
  Graph graph = empty_graph();
  const ValueId x = graph.add_input("x", {DType::kF32, {2, 2}});
  ValueId y = graph.add_node("Transpose", {x}, {}, "transpose");
  y = graph.add_node("Cast", {y}, {{"to", int64_t{11}}}, "cast");
  graph.set_outputs({y});
  EXPECT_EQ(count(run(make_remove_identity(), graph), "nodes removed"), 0);
}

TEST(RemoveIdentity, TheInterfaceKeepsItsNames) {
  Graph graph = empty_graph();
  const ValueId x = graph.add_input("x", {DType::kF32, {2}});
  const ValueId straight = graph.add_node("Identity", {x}, {}, "straight");
  const ValueId a = graph.add_node("Relu", {x}, {}, "act");
  const ValueId named = graph.add_node("Identity", {a}, {}, "named");
  graph.set_outputs({straight, named});
  const std::string name = graph.value(named).name;
  EXPECT_EQ(count(run(make_remove_identity(), graph), "nodes removed"), 1);
  EXPECT_EQ(ops(graph), "Identity Relu");
  EXPECT_EQ(graph.value(graph.outputs()[1]).name, name);
}

TEST(RemoveIdentity, AReshapeOfASymbolicBatchStays) {
  Graph graph = empty_graph();
  const ValueId x = graph.add_input("x", {DType::kF32, {1, 4}}, {"N", ""});
  const ValueId shape = graph.add_constant("shape", Tensor({2}, std::vector<int64_t>{1, 4}));
  graph.set_outputs(
      {graph.add_node("Relu", {graph.add_node("Reshape", {x, shape}, {}, "reshape")}, {}, "act")});
  EXPECT_EQ(count(run(make_remove_identity(), graph), "nodes removed"), 0);
}

// -- fold-batch-norm -----------------------------------------------------------------------------

TEST(FoldBatchNorm, FoldsIntoConvWithAndWithoutBias) {
  for (const int64_t group : {1, 2}) {
    for (const bool bias : {false, true}) {
      Graph graph = empty_graph();
      const ValueId x = graph.add_input("x", {DType::kF32, {1, 4, 5, 5}});
      std::vector<ValueId> operands = {x, graph.add_constant("w", noise({6, 4 / group, 3, 3}, 1))};
      if (bias) operands.push_back(graph.add_constant("b", noise({6}, 2)));
      const ValueId y = graph.add_node(
          "Conv", operands, {{"group", group}, {"pads", std::vector<int64_t>{1, 1, 1, 1}}}, "conv");
      graph.set_outputs({graph.add_node("Relu", {add_norm(graph, y, 6, 3)}, {}, "act")});
      const Graph before = graph;
      EXPECT_EQ(count(run(make_fold_batch_norm(), graph), "batch norms folded"), 1);
      EXPECT_EQ(ops(graph), "Conv Relu");
      EXPECT_LT(difference(before, graph, noise({1, 4, 5, 5}, 9)), 1e-5);
    }
  }
}

TEST(FoldBatchNorm, FoldsIntoGroupedConvTranspose) {
  Graph graph = empty_graph();
  const ValueId x = graph.add_input("x", {DType::kF32, {1, 4, 3, 3}});
  const ValueId w = graph.add_constant("w", noise({4, 3, 2, 2}, 1));
  const ValueId y = graph.add_node("ConvTranspose", {x, w}, {{"group", int64_t{2}}}, "up");
  graph.set_outputs({add_norm(graph, y, 6, 3)});
  const Graph before = graph;
  const std::string name = graph.value(graph.outputs()[0]).name;
  run(make_fold_batch_norm(), graph);
  EXPECT_EQ(ops(graph), "ConvTranspose");
  EXPECT_EQ(graph.value(graph.outputs()[0]).name, name);
  EXPECT_LT(difference(before, graph, noise({1, 4, 3, 3}, 9)), 1e-5);
}

TEST(FoldBatchNorm, FoldsIntoGemmOnEitherSide) {
  for (const int64_t transposed : {0, 1}) {
    Graph graph = empty_graph();
    const ValueId x = graph.add_input("x", {DType::kF32, {2, 3}});
    const ValueId w = graph.add_constant("w", noise(transposed ? Shape{5, 3} : Shape{3, 5}, 1));
    const ValueId c = graph.add_constant("c", noise({1, 5}, 2));
    const ValueId y =
        graph.add_node("Gemm", {add_norm(graph, x, 3, 5), w, c},
                       {{"transB", transposed}, {"alpha", 0.5f}, {"beta", 2.0f}}, "fc");
    graph.set_outputs({add_norm(graph, y, 5, 11)});
    const Graph before = graph;
    EXPECT_EQ(count(run(make_fold_batch_norm(), graph), "batch norms folded"), 2);
    EXPECT_EQ(ops(graph), "Gemm");
    EXPECT_LT(difference(before, graph, noise({2, 3}, 9)), 1e-5);
  }
}

TEST(FoldBatchNorm, FoldsIntoTheConvBehindOnlyWithoutPadding) {
  for (const int64_t pad : {0, 1}) {
    Graph graph = empty_graph();
    const ValueId x = graph.add_input("x", {DType::kF32, {1, 4, 5, 5}});
    const ValueId w = graph.add_constant("w", noise({6, 2, 3, 3}, 1));
    const ValueId y = graph.add_node(
        "Conv", {add_norm(graph, x, 4, 3), w},
        {{"group", int64_t{2}}, {"pads", std::vector<int64_t>{pad, pad, pad, pad}}}, "conv");
    graph.set_outputs({y});
    const Graph before = graph;
    run(make_fold_batch_norm(), graph);
    EXPECT_EQ(ops(graph), pad ? "BatchNormalization Conv" : "Conv");
    EXPECT_LT(difference(before, graph, noise({1, 4, 5, 5}, 9)), 1e-5);
  }
}

TEST(FoldBatchNorm, FoldsArithmeticPerChannel) {
  Graph graph = empty_graph();
  const ValueId x = graph.add_input("x", {DType::kF32, {1, 2, 4, 4}});
  ValueId y =
      graph.add_node("Conv", {x, graph.add_constant("w", noise({3, 2, 1, 1}, 1))}, {}, "conv");
  y = graph.add_node("Mul", {y, graph.add_constant("m", noise({3, 1, 1}, 2))}, {}, "mul");
  y = graph.add_node("Add", {graph.add_constant("a", noise({1, 3, 1, 1}, 3)), y}, {}, "add");
  y = graph.add_node("Sub", {graph.add_constant("s", Tensor::scalar(0.5f)), y}, {}, "sub");
  y = graph.add_node("Div", {y, graph.add_constant("d", Tensor::scalar(3.0f))}, {}, "div");
  graph.set_outputs({y});
  const Graph before = graph;
  EXPECT_EQ(count(run(make_fold_batch_norm(), graph), "channel arithmetic folded"), 4);
  EXPECT_EQ(ops(graph), "Conv");
  EXPECT_LT(difference(before, graph, noise({1, 2, 4, 4}, 9)), 1e-5);
}

TEST(FoldBatchNorm, LeavesAConvThatSomebodyElseUsesAlone) {
  Graph graph = empty_graph();
  const ValueId x = graph.add_input("x", {DType::kF32, {1, 2, 4, 4}});
  const ValueId y =
      graph.add_node("Conv", {x, graph.add_constant("w", noise({3, 2, 1, 1}, 1))}, {}, "conv");
  graph.set_outputs({add_norm(graph, y, 3, 3), graph.add_node("Relu", {y}, {}, "act")});
  const uint64_t revision = graph.revision();
  EXPECT_EQ(count(run(make_fold_batch_norm(), graph), "batch norms left"), 1);
  EXPECT_EQ(graph.revision(), revision) << "nothing to fold, so nothing may change";
}

TEST(FoldBatchNorm, AWeightTwoConvsShareIsCopied) {
  Graph graph = empty_graph();
  const ValueId x = graph.add_input("x", {DType::kF32, {1, 2, 4, 4}});
  const ValueId w = graph.add_constant("w", noise({2, 2, 1, 1}, 1));
  const ValueId y = graph.add_node("Conv", {x, w}, {}, "first");
  graph.set_outputs({graph.add_node("Conv", {add_norm(graph, y, 2, 3), w}, {}, "second")});
  const Graph before = graph;
  run(make_fold_batch_norm(), graph);
  EXPECT_EQ(ops(graph), "Conv Conv");
  EXPECT_TRUE(identical(*graph.constant(w), *before.constant(w)));
  EXPECT_LT(difference(before, graph, noise({1, 2, 4, 4}, 9)), 1e-5);
}

}  // namespace
}  // namespace pare
