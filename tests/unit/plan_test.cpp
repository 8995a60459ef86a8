// The compiled plan means what the interpreter means, whatever it fuses.

#include "exec/plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <thread>

#include "exec/arena.h"
#include "exec/engine.h"
#include "ir/slice.h"
#include "passes/quantize_int8.h"
#include "pruning_graphs.h"

namespace pare {
namespace {

double largest_difference(const Tensor& a, const Tensor& b) {
  EXPECT_EQ(a.type(), b.type());
  double difference = 0, scale = 1e-30;
  for (size_t i = 0; i < a.data<float>().size(); ++i) {
    const auto x = static_cast<double>(a.data<float>()[i]);
    difference = std::max(difference, std::abs(x - static_cast<double>(b.data<float>()[i])));
    scale = std::max(scale, std::abs(x));
  }
  return difference / scale;
}

/// Runs a graph both ways on seeded inputs.
void expect_alike(const Graph& graph) {
  std::vector<Tensor> inputs;
  for (ValueId id : graph.inputs())
    inputs.push_back(random_tensor(graph.shape(id), 7 + static_cast<uint32_t>(inputs.size())));
  const std::vector<Tensor> expected = execute(graph, inputs);
  const Plan plan(graph);
  for (int run = 0; run < 2; ++run) {  // A second run finds the first one's bytes in its memory.
    const std::vector<Tensor> actual = plan.run(inputs);
    ASSERT_EQ(actual.size(), expected.size());
    for (size_t i = 0; i < actual.size(); ++i)
      EXPECT_LT(largest_difference(expected[i], actual[i]), 1e-5);
  }
}

std::multiset<std::string> kinds(const Graph& graph) {
  std::multiset<std::string> kinds;
  const Plan plan(graph);
  for (const PlanStep& step : plan.steps()) {
    if (step.kind != "reorder") kinds.insert(step.kind);
  }
  return kinds;
}

bool evaluates(const Graph& graph) {
  const Plan plan(graph);
  return std::ranges::any_of(plan.steps(),
                             [](const PlanStep& step) { return step.implementation == "eval"; });
}

TEST(Arena, BuffersThatLiveTogetherDoNotOverlap) {
  std::vector<ArenaBuffer> buffers;
  std::mt19937 engine(3);
  for (int i = 0; i < 200; ++i) {
    const size_t first = engine() % 50;
    buffers.push_back({.bytes = 1 + engine() % 5000, .first = first, .last = first + engine() % 9});
  }
  const ArenaLayout layout = lay_out_arena(buffers);
  size_t sum = 0;
  for (size_t i = 0; i < buffers.size(); ++i) {
    sum += buffers[i].bytes;
    EXPECT_EQ(layout.offsets[i] % 64, 0u);
    EXPECT_LE(layout.offsets[i] + buffers[i].bytes, layout.bytes);
    for (size_t j = 0; j < i; ++j) {
      if (buffers[i].first > buffers[j].last || buffers[j].first > buffers[i].last) continue;
      EXPECT_TRUE(layout.offsets[i] + buffers[i].bytes <= layout.offsets[j] ||
                  layout.offsets[j] + buffers[j].bytes <= layout.offsets[i]);
    }
  }
  EXPECT_LT(layout.bytes, sum / 3) << "what is dead is used again";
}

TEST(Plan, FusesResidualBlocks) {
  const Graph graph = small_resnet();
  expect_alike(graph);
  EXPECT_FALSE(evaluates(graph));
  EXPECT_TRUE(kinds(graph).contains("Conv + Add + Relu"));
  EXPECT_FALSE(kinds(graph).contains("Relu"));
}

TEST(Plan, AnAddendThatLivesOnIsNotOverwritten) {
  Builder b;
  const ValueId x = b.relu(b.conv(b.image(16, 8), 16, 3, "one"));
  const ValueId sum = b.add(b.conv(x, 16, 3, "two"), x);
  b.graph.set_outputs({b.head(b.add(b.conv(sum, 16, 1, "three"), x), 4)});
  expect_alike(b.graph);
}

TEST(Plan, TheSourceOfAConvolutionMayBeItsAddend) {
  Builder b;
  const ValueId x = b.relu(b.conv(b.image(16, 8), 16, 3, "one"));
  b.graph.set_outputs({b.head(b.add(b.conv(x, 16, 1, "two"), x), 4)});
  expect_alike(b.graph);
}

TEST(Plan, AGroupThatIsLoweredNodeByNodeKeepsWhatItsLaterNodesRead) {
  Builder b;
  const ValueId x = b.graph.add_node("MaxPool", {b.conv(b.image(8, 8), 8, 3, "one")},
                                     {{"kernel_shape", std::vector<int64_t>{2, 2}}});
  b.graph.set_outputs({b.graph.add_node("Mul", {b.graph.add_node("Sigmoid", {x}), x})});
  expect_alike(b.graph);

  Builder two;
  const ValueId y = two.graph.add_node("MaxPool", {two.conv(two.image(8, 8), 8, 3, "one")},
                                       {{"kernel_shape", std::vector<int64_t>{2, 2}}});
  const ValueId sum = two.add(y, two.conv(y, 8, 3, "two"));
  two.graph.set_outputs({two.graph.add_node("Mul", {two.graph.add_node("Sub", {y, sum}), y})});
  expect_alike(two.graph);
}

TEST(Plan, ValuesUsedTwiceAndOutputsInTheMiddleStay) {
  Builder b;
  const ValueId x = b.conv(b.image(8, 8), 16, 3, "one");
  const ValueId r = b.relu(x);
  b.graph.set_outputs({b.head(b.conv(r, 16, 3, "two"), 4), x, r});
  expect_alike(b.graph);
}

TEST(Plan, ManyOutputsAreAllThereAtTheEnd) {
  Builder b;
  const ValueId x = b.relu(b.conv(b.image(16, 8), 16, 3, "one"));
  std::vector<ValueId> outputs;
  for (const char* name : {"a", "b", "c", "d"}) outputs.push_back(b.conv(x, 16, 3, name));
  b.graph.set_outputs(outputs);
  expect_alike(b.graph);
}

TEST(Plan, FoldsBatchNormalizationBehindConvolutions) {
  for (const int64_t group : {1, 4, 16}) {
    Builder b;
    const ValueId x = b.conv(b.image(16, 8), 16, 3, "one", group);
    const auto vector = [&](const char* name, float scale, float shift) {
      Tensor t = random_tensor({16}, 3, scale);
      for (float& v : t.mutable_data<float>()) v = std::abs(v) + shift;
      return b.graph.add_constant(name, t);
    };
    const ValueId y =
        b.graph.add_node("BatchNormalization", {x, vector("scale", 1, 0.5f), vector("shift", 1, 0),
                                                vector("mean", 1, 0), vector("variance", 1, 0.1f)});
    b.graph.set_outputs({b.relu(y)});
    expect_alike(b.graph);
    EXPECT_EQ(kinds(b.graph), (std::multiset<std::string>{"Conv + BatchNormalization + Relu"}));
  }
}

TEST(Plan, RunsActivationsAsExportersSpellThem) {
  const auto scalar = [](Builder& b, float value) {
    return b.graph.add_constant("c", Tensor::scalar(value));
  };
  Builder swish;
  ValueId x = swish.conv(swish.image(8, 8), 8, 1, "one");
  swish.graph.set_outputs({swish.graph.add_node("Mul", {x, swish.graph.add_node("Sigmoid", {x})})});
  expect_alike(swish.graph);
  EXPECT_EQ(kinds(swish.graph).size(), 1u);

  Builder hard;
  x = hard.conv(hard.image(8, 8), 8, 1, "one");
  const ValueId gate =
      hard.graph.add_node("HardSigmoid", {x}, {{"alpha", 1.0f / 6}, {"beta", 0.5f}});
  hard.graph.set_outputs({hard.graph.add_node("Mul", {gate, x})});
  expect_alike(hard.graph);
  EXPECT_EQ(kinds(hard.graph).size(), 1u);

  Builder gelu;
  x = gelu.conv(gelu.image(8, 8), 8, 1, "one");
  const ValueId erf =
      gelu.graph.add_node("Erf", {gelu.graph.add_node("Div", {x, scalar(gelu, std::sqrt(2.0f))})});
  const ValueId half =
      gelu.graph.add_node("Mul", {x, gelu.graph.add_node("Add", {erf, scalar(gelu, 1)})});
  gelu.graph.set_outputs({gelu.graph.add_node("Mul", {half, scalar(gelu, 0.5f)})});
  expect_alike(gelu.graph);
  EXPECT_EQ(kinds(gelu.graph).size(), 1u);
}

TEST(Plan, RunsCurvesAndArithmeticWithNumbers) {
  Builder b;
  ValueId x = b.conv(b.image(8, 8), 12, 3, "one");
  for (const char* op : {"HardSwish", "Sigmoid", "Neg", "Elu", "Tanh", "Abs", "LeakyRelu"})
    x = b.graph.add_node(op, {x});
  x = b.graph.add_node("Clip", {x, b.graph.add_constant("low", Tensor::scalar(-0.5f))});
  x = b.graph.add_node("Sub", {b.graph.add_constant("two", Tensor::scalar(2.0f)), x});
  const ValueId gate = b.graph.add_node("GlobalAveragePool", {x});
  x = b.graph.add_node("Mul", {x, gate});
  b.graph.set_outputs({b.graph.add_node("Div", {x, b.add(gate, gate)})});
  expect_alike(b.graph);
}

TEST(Plan, RunsPoolsConcatsAndTransposedConvolutions) {
  Builder b;
  const ValueId x = b.relu(b.conv(b.image(8, 12), 16, 3, "one"));
  const std::vector<int64_t> three = {3, 3}, two = {2, 2}, pads = {1, 1, 1, 1};
  const ValueId most =
      b.graph.add_node("MaxPool", {x}, {{"kernel_shape", three}, {"strides", two}, {"pads", pads}});
  const ValueId mean = b.graph.add_node("AveragePool", {x},
                                        {{"kernel_shape", three},
                                         {"strides", two},
                                         {"pads", pads},
                                         {"count_include_pad", int64_t{1}}});
  const ValueId both = b.graph.add_node("Concat", {most, mean}, {{"axis", int64_t{1}}});
  const ValueId up = b.graph.add_node("ConvTranspose", {both, b.weight("up.w", {32, 4, 2, 2})},
                                      {{"strides", two}, {"group", int64_t{2}}});
  b.graph.set_outputs(
      {up, b.graph.add_node("ReduceMean", {x},
                            {{"axes", std::vector<int64_t>{-1, -2}}, {"keepdims", int64_t{0}}})});
  expect_alike(b.graph);
}

TEST(Plan, RunsAttention) {
  Builder b;
  const ValueId x = b.graph.add_input("x", {DType::kF32, {2, 5, 8}});
  const auto heads = [&](const char* name, std::vector<int64_t> permutation) {
    const ValueId flat =
        b.graph.add_node("Add", {b.graph.add_constant("b", random_tensor({8}, 5)),
                                 b.graph.add_node("MatMul", {x, b.weight(name, {8, 8})})});
    const ValueId split = b.graph.add_node(
        "Reshape",
        {flat, b.graph.add_constant("s", Tensor({4}, std::vector<int64_t>{2, 5, 2, 4}))});
    return b.graph.add_node("Transpose", {split}, {{"perm", std::move(permutation)}});
  };
  const ValueId scores =
      b.graph.add_node("MatMul", {heads("q", {0, 2, 1, 3}), heads("k", {0, 2, 3, 1})});
  const ValueId weights = b.graph.add_node("Softmax", {scores}, {{"axis", int64_t{-1}}});
  const ValueId mixed = b.graph.add_node("MatMul", {weights, heads("v", {0, 2, 1, 3})});
  const ValueId joined = b.graph.add_node(
      "Reshape",
      {b.graph.add_node("Transpose", {mixed}, {{"perm", std::vector<int64_t>{0, 2, 1, 3}}}),
       b.graph.add_constant("s", Tensor({3}, std::vector<int64_t>{2, 5, 8}))});
  const ValueId sum = b.add(b.graph.add_node("MatMul", {joined, b.weight("o", {8, 8})}), x);
  b.graph.set_outputs({b.graph.add_node("LayerNormalization",
                                        {sum, b.graph.add_constant("g", random_tensor({8}, 8)),
                                         b.graph.add_constant("h", random_tensor({8}, 9))})});
  expect_alike(b.graph);
  EXPECT_FALSE(evaluates(b.graph));
}

/// x, normalized over its last axis as exporters spell it before opset 17.
ValueId spelled_layer_norm(Builder& b, ValueId x, bool square_by_product, bool numbers_first) {
  const Attributes last = {{"axes", std::vector<int64_t>{-1}}};
  const auto number = [&](float value) { return b.graph.add_constant("c", Tensor::scalar(value)); };
  const auto pair = [&](const char* op, ValueId made, ValueId constant) {
    return numbers_first ? b.graph.add_node(op, {constant, made})
                         : b.graph.add_node(op, {made, constant});
  };
  const ValueId centred = b.graph.add_node("Sub", {x, b.graph.add_node("ReduceMean", {x}, last)});
  const ValueId square = square_by_product ? b.graph.add_node("Mul", {centred, centred})
                                           : b.graph.add_node("Pow", {centred, number(2)});
  const ValueId variance =
      pair("Add", b.graph.add_node("ReduceMean", {square}, last), number(1e-3f));
  const ValueId even = b.graph.add_node("Div", {centred, b.graph.add_node("Sqrt", {variance})});
  const ValueId scaled = pair("Mul", even, b.graph.add_constant("scale", random_tensor({8}, 8)));
  return pair("Add", scaled, b.graph.add_constant("shift", random_tensor({1, 1, 8}, 9)));
}

TEST(Plan, RunsLayerNormalizationAsExportersSpellIt) {
  for (const bool other_way : {false, true}) {
    Builder b;
    const ValueId x = b.graph.add_input("x", {DType::kF32, {2, 5, 8}}, {"N", "", ""});
    b.graph.set_outputs({b.add(x, spelled_layer_norm(b, x, other_way, other_way))});
    expect_alike(b.graph);
    EXPECT_EQ(kinds(b.graph).size(), 2u);
    EXPECT_FALSE(evaluates(b.graph));
  }
}

TEST(Plan, KeepsPartsOfALayerNormalizationThatAreWanted) {
  Builder b;
  const ValueId x = b.graph.add_input("x", {DType::kF32, {2, 5, 8}}, {"N", "", ""});
  const ValueId y = spelled_layer_norm(b, x, false, false);
  ValueId centred = kNoValue;
  for (const NodeId id : b.graph.order()) {
    if (b.graph.node(id).op == "Sub") centred = b.graph.node(id).outputs[0];
  }
  b.graph.set_outputs({y, centred});
  expect_alike(b.graph);
}

TEST(Plan, WhatHasNoPrimitiveIsEvaluatedBetweenBlockedLayouts) {
  Builder b;
  ValueId x = b.relu(b.conv(b.image(8, 8), 16, 3, "one"));
  x = b.graph.add_node("DepthToSpace", {x}, {{"blocksize", int64_t{2}}});
  x = b.conv(x, 20, 3, "two");
  x = b.graph.add_node("Identity", {b.graph.add_node("Softplus", {x})});
  b.graph.set_outputs({b.head(x, 3)});
  expect_alike(b.graph);
  EXPECT_TRUE(evaluates(b.graph));
}

/// Runs a graph that rounds to integers both ways. A sum that rounds the other way is one step off,
/// and may move what follows it.
void expect_alike_quantized(const Graph& graph, std::multiset<std::string> wanted) {
  EXPECT_EQ(kinds(graph), wanted);
  const Tensor x = random_tensor(graph.shape(graph.inputs()[0]), 4);
  const Tensor expected = execute(graph, {x})[0], actual = Plan(graph).run({x})[0];
  EXPECT_LT(largest_difference(expected, actual), 0.02);
  size_t differ = 0;
  for (size_t i = 0; i < actual.data<float>().size(); ++i)
    differ += std::abs(expected.data<float>()[i] - actual.data<float>()[i]) > 1e-5f ? 1 : 0;
  EXPECT_LE(differ, actual.data<float>().size() / 50);
}

Graph quantized(Builder& b, const QuantizeInt8Options& options) {
  const Dataset data = random_images(32, 3, 8);
  PassContext context{.data = &data};
  make_quantize_int8(options)->run(b.graph, context);
  return b.graph;
}

TEST(Plan, RunsQuantizedNetworksOnIntegers) {
  for (const bool per_channel : {true, false}) {
    Builder b;
    const ValueId x = b.relu(b.conv(b.image(3, 8), 16, 3, "stem"));
    const ValueId depthwise = b.relu(b.conv(x, 16, 3, "depthwise", 16));
    const ValueId sum = b.relu(b.add(b.conv(depthwise, 16, 1, "project"), x));
    const ValueId most = b.graph.add_node(
        "MaxPool", {sum},
        {{"kernel_shape", std::vector<int64_t>{2, 2}}, {"strides", std::vector<int64_t>{2, 2}}});
    b.graph.set_outputs({b.conv(most, 24, 3, "last")});
    QuantizeInt8Options options;
    options.per_channel = per_channel;
    expect_alike_quantized(
        quantized(b, options),
        {"QuantizeLinear", "Conv + Relu + QuantizeLinear", "Conv + Relu + QuantizeLinear",
         "Conv + QuantizeLinear", "Add + Relu + QuantizeLinear", "MaxPool + QuantizeLinear",
         "Conv + QuantizeLinear", "DequantizeLinear"});
  }
}

TEST(Plan, AQuantizedValueThatIsObservedIsComputedInFloat) {
  Builder b;
  const ValueId x = b.relu(b.conv(b.image(3, 8), 16, 3, "stem"));
  b.graph.set_outputs({b.conv(x, 8, 3, "last")});
  const Graph graph = quantized(b, {});
  std::vector<ValueId> floats;
  for (NodeId id : graph.order()) {
    if (graph.type(graph.node(id).outputs[0]).dtype == DType::kF32)
      floats.push_back(graph.node(id).outputs[0]);
  }
  const Tensor input = random_tensor(graph.shape(graph.inputs()[0]), 4);
  std::map<ValueId, Tensor> expected;
  execute(graph, {input}, [&](ValueId id, const Tensor& tensor) { expected.emplace(id, tensor); });
  size_t seen = 0;
  Plan(graph, {.observed = floats}).run({input}, [&](ValueId id, const Tensor& tensor) {
    EXPECT_LT(largest_difference(expected.at(id), tensor), 0.02);
    ++seen;
  });
  EXPECT_EQ(seen, floats.size() + 1);
}

TEST(Plan, ShowsObservedValuesAsTheyAre) {
  const Graph graph = small_resnet();
  std::vector<ValueId> all;
  for (NodeId id : graph.order()) all.push_back(graph.node(id).outputs[0]);
  const Tensor x = random_tensor(graph.shape(graph.inputs()[0]), 4);
  std::map<ValueId, Tensor> expected;
  execute(graph, {x}, [&](ValueId id, const Tensor& tensor) { expected.emplace(id, tensor); });
  size_t seen = 0;
  Plan(graph, {.observed = all}).run({x}, [&](ValueId id, const Tensor& tensor) {
    EXPECT_LT(largest_difference(expected.at(id), tensor), 1e-5);
    ++seen;
  });
  EXPECT_EQ(seen, all.size() + 1) << "every node's result and the input";
}

TEST(Plan, RefusesOtherExtentsThanItWasMadeFor) {
  const Graph graph = small_resnet();
  Shape shape = graph.shape(graph.inputs()[0]);
  shape[0] = 2;
  EXPECT_THROW(Plan(graph).run({random_tensor(shape, 1)}), Error);
}

TEST(Engine, CompilesForEveryBatchAndIsBitIdenticalOnManyThreads) {
  const Graph graph = small_resnet();
  const Engine engine(graph);
  for (const int64_t batch : {1, 3, 8}) {
    Shape shape = graph.shape(graph.inputs()[0]);
    shape[0] = batch;
    const Tensor x = random_tensor(shape, 2);
    const Tensor once = engine.run({x})[0];
    EXPECT_LT(largest_difference(execute(graph, {x})[0], once), 1e-5);
    std::vector<Tensor> many(6);
    std::vector<std::jthread> threads;
    for (Tensor& slot : many) threads.emplace_back([&] { slot = engine.run({x})[0]; });
    threads.clear();
    for (const Tensor& other : many) EXPECT_TRUE(identical(once, other));
  }
}

/// Shape arithmetic, a branch and an output in the middle.
Graph network_with_shape_arithmetic() {
  Builder b;
  const ValueId a = b.relu(b.conv(b.image(4, 6), 8, 3, "a"));
  const ValueId shape = b.graph.add_node("Shape", {a});
  const ValueId c = b.add(a, b.conv(a, 8, 3, "c"));
  const ValueId d = b.graph.add_node("Reshape", {c, shape});
  b.graph.set_outputs({a, b.graph.add_node("Sigmoid", {d})});
  return b.graph;
}

TEST(Slice, PiecesRunInTurnGiveWhatTheWholeGives) {
  const Graph graph = network_with_shape_arithmetic();
  const Shape batch{3, 4, 6, 6};  // Not what the graph was inferred for.
  const std::vector<Tensor> inputs{random_tensor(batch, 7)};
  const std::vector<Tensor> expected = execute(graph, inputs);
  for (size_t cut = 0; cut <= graph.order().size(); ++cut) {
    std::map<ValueId, Tensor> values{{graph.inputs()[0], inputs[0]}};
    const auto run = [&](const Graph& piece) {
      std::vector<Tensor> taken;
      for (ValueId id : piece.inputs()) taken.push_back(values.at(id));
      std::vector<Tensor> results = Engine(piece).run(taken);
      for (size_t i = 0; i < results.size(); ++i) values[piece.outputs()[i]] = results[i];
      return results;
    };
    run(slice(graph, 0, cut));
    const std::vector<Tensor> actual = run(slice(graph, cut, graph.order().size()));
    ASSERT_EQ(actual.size(), 2u) << cut;
    for (size_t i = 0; i < actual.size(); ++i)
      EXPECT_LT(largest_difference(expected[i], actual[i]), 1e-5) << cut;
  }
}

TEST(Slice, ANodeAloneReadsEachComputedOperandOnce) {
  Builder b;
  const ValueId x = b.image(4, 6);
  b.graph.set_outputs({b.add(x, x)});
  const Graph& graph = b.graph;
  const Graph alone = slice(graph, {graph.order()[0]});
  ASSERT_EQ(alone.inputs().size(), 1u);
  const std::vector<Tensor> inputs{random_tensor({2, 4, 6, 6}, 3)};
  EXPECT_EQ(largest_difference(execute(graph, inputs)[0], Engine(alone).run(inputs)[0]), 0);
}

}  // namespace
}  // namespace pare
