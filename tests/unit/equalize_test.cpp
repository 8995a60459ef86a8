// The exact passes that prepare for quantization: equalize-layers, fuse-activations.

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "exec/interpreter.h"
#include "passes/equalize_layers.h"
#include "passes/fuse_activations.h"
#include "quantize_graphs.h"

namespace pare {
namespace {

PassStats run(std::unique_ptr<Pass> pass, Graph& graph) {
  PassContext context;
  PassStats stats = pass->run(graph, context);
  verify(graph);
  return stats;
}

double difference(const Graph& a, const Graph& b, const Tensor& x) {
  return compare_outputs(execute(a, {x}), execute(b, {x})).max_relative_error;
}

// -- equalize-layers -----------------------------------------------------------------------------

/// Largest weight by output channel (axis 0) or input channel (axis 1).
std::vector<double> reach(const Graph& graph, const std::string& weight, size_t axis) {
  for (uint32_t i = 0; i < graph.value_count(); ++i) {
    if (graph.value(ValueId{i}).name != weight) continue;
    const Tensor& w = *graph.constant(ValueId{i});
    const Shape& shape = w.shape();
    const auto inner = static_cast<size_t>(w.size() / (shape[0] * shape[1]));
    std::vector<double> most(static_cast<size_t>(shape[axis]));
    for (size_t k = 0; k < w.data<float>().size(); ++k) {
      const size_t at = axis == 0 ? k / inner / static_cast<size_t>(shape[1])
                                  : k / inner % static_cast<size_t>(shape[1]);
      most[at] = std::max(most[at], std::abs(static_cast<double>(w.data<float>()[k])));
    }
    return most;
  }
  throw Error(ErrorKind::kInternal, "no value is called " + weight);
}

/// conv -> `f` -> conv, the first with channels of very different reach.
Network uneven(std::string_view f, std::vector<ValueId> (*operands)(Network&, ValueId),
               Attributes attributes = {}) {
  Network net({1, 3, 8, 8});
  ValueId y = net.conv("one", net.x, 4);
  Tensor w = *net.graph.constant(net.graph.node(*net.graph.value(y).producer).inputs[1]);
  const std::span<float> weights = w.mutable_data<float>();
  for (size_t i = 0; i < weights.size(); ++i) weights[i] *= i < weights.size() / 4 ? 100.0f : 1.0f;
  net.graph.set_constant(net.graph.node(*net.graph.value(y).producer).inputs[1], w);
  y = net.node(f, operands(net, y), "f", std::move(attributes));
  net.graph.set_outputs({net.conv("two", y, 5)});
  return net;
}

std::vector<ValueId> alone(Network&, ValueId y) { return {y}; }

TEST(EqualizeLayers, GivesAChannelTheSameReachInBothLayersAndChangesNothing) {
  Network net = uneven("Relu", alone);
  const Graph before = net.graph;
  run(make_equalize_layers(), net.graph);
  const std::vector<double> first = reach(net.graph, "one.w", 0);
  const std::vector<double> second = reach(net.graph, "two.w", 1);
  for (size_t c = 0; c < first.size(); ++c) EXPECT_NEAR(first[c] / second[c], 1, 0.02) << c;
  EXPECT_GT(reach(before, "one.w", 0)[0] / reach(before, "two.w", 1)[0], 50);
  EXPECT_LT(difference(before, net.graph, noise({2, 3, 8, 8}, 7)), 1e-5);
}

TEST(EqualizeLayers, DoingItAgainChangesNothing) {
  Network net = uneven("Relu", alone);
  run(make_equalize_layers(), net.graph);
  const uint64_t revision = net.graph.revision();
  run(make_equalize_layers(), net.graph);
  EXPECT_EQ(net.graph.revision(), revision);
}

TEST(EqualizeLayers, SeesThroughPReluAndPooling) {
  const auto slope = [](Network& net, ValueId y) {
    return std::vector<ValueId>{y, net.weight("slope", {4, 1, 1})};
  };
  const std::vector<int64_t> two = {2, 2};
  for (Network net : {uneven("PRelu", slope), uneven("AveragePool", alone, {{"kernel_shape", two}}),
                      uneven("MaxPool", alone, {{"kernel_shape", two}})}) {
    const Graph before = net.graph;
    run(make_equalize_layers(), net.graph);
    EXPECT_LT(reach(net.graph, "one.w", 0)[0], 0.5 * reach(before, "one.w", 0)[0]);
    EXPECT_LT(difference(before, net.graph, noise({2, 3, 8, 8}, 7)), 1e-5);
  }
}

TEST(EqualizeLayers, StopsAtASigmoid) {
  Network net = uneven("Sigmoid", alone);
  const uint64_t revision = net.graph.revision();
  run(make_equalize_layers(), net.graph);
  EXPECT_EQ(net.graph.revision(), revision);
}

TEST(EqualizeLayers, LeavesAResultThatIsUsedElsewhere) {
  Network net = uneven("Relu", alone);
  const ValueId middle =
      net.graph.node(*net.graph.value(net.graph.outputs()[0]).producer).inputs[0];
  net.graph.set_outputs({net.graph.outputs()[0], middle});
  const uint64_t revision = net.graph.revision();
  run(make_equalize_layers(), net.graph);
  EXPECT_EQ(net.graph.revision(), revision);
}

/// sigmoid -> depthwise -> Clip(0, 6) -> conv; channel 0 may exceed 6, the others may not.
Network clipped() {
  Network net({1, 3, 8, 8});
  ValueId y = net.node("Sigmoid", {net.x}, "bounded");
  std::vector<float> w(27, 0.1f);
  std::fill_n(w.begin(), 9, 2.0f);
  y = net.node("Conv", {y, net.graph.add_constant("one.w", Tensor({3, 1, 3, 3}, w))}, "one",
               {{"group", int64_t{3}}});
  const ValueId low = net.graph.add_constant("low", Tensor::scalar(0.0f));
  const ValueId high = net.graph.add_constant("high", Tensor::scalar(6.0f));
  y = net.node("Clip", {y, low, high}, "clip");
  net.graph.set_outputs({net.conv("two", y, 5)});
  return net;
}

TEST(EqualizeLayers, ScalesBehindAClipOnlyWhatCannotReachIt) {
  Network net = clipped();
  const Graph before = net.graph;
  run(make_equalize_layers(), net.graph);
  const std::vector<double> old = reach(before, "one.w", 0), now = reach(net.graph, "one.w", 0);
  EXPECT_EQ(now[0], old[0]);
  EXPECT_GT(now[1], 1.5 * old[1]);
  Tensor loud = noise({2, 3, 8, 8}, 7);
  for (float& x : loud.mutable_data<float>()) x *= 100;
  EXPECT_LT(difference(before, net.graph, loud), 1e-5);
}

TEST(EqualizeLayers, ScalesBehindAClipWhatDoesNotReachItOnTheData) {
  Network net = clipped();
  const Graph before = net.graph;
  Tensor dark = noise({16, 3, 8, 8}, 7);
  for (float& x : dark.mutable_data<float>()) x -= 4;  // Channel 0 comes to 0.8 at the most.
  const Dataset data = Dataset::of({dark});
  PassContext context{.data = &data, .threads = 2};
  make_equalize_layers({.reach = EqualizeLayersOptions::Reach::kMeasured})->run(net.graph, context);
  verify(net.graph);
  EXPECT_GT(std::abs(std::log(reach(net.graph, "one.w", 0)[0] / reach(before, "one.w", 0)[0])),
            0.05);
  EXPECT_LT(difference(before, net.graph, dark), 1e-5);

  Network bright = clipped();
  Tensor light = noise({16, 3, 8, 8}, 7);
  for (float& x : light.mutable_data<float>()) x += 4;  // And here to 18.
  const Dataset other = Dataset::of({light});
  context.data = &other;
  make_equalize_layers({.reach = EqualizeLayersOptions::Reach::kMeasured})
      ->run(bright.graph, context);
  EXPECT_EQ(reach(bright.graph, "one.w", 0)[0], reach(before, "one.w", 0)[0]);
}

TEST(EqualizeLayers, AFlattenSpreadsAChannelOverManyInputs) {
  Network net({1, 3, 8, 8});
  ValueId y = net.node("Relu", {net.conv("one", net.x, 4)}, "relu");
  y = net.node("Flatten", {y}, "flatten");
  net.graph.set_outputs({net.node("Gemm", {y, net.weight("two.w", {256, 5})}, "two")});
  const Graph before = net.graph;
  const PassStats stats = run(make_equalize_layers(), net.graph);
  EXPECT_EQ(std::get<int64_t>(stats.at("layers equalized")), 2);
  EXPECT_LT(difference(before, net.graph, noise({2, 3, 8, 8}, 7)), 1e-5);
}

// -- fuse-activations ----------------------------------------------------------------------------

/// A network of one activation, spelled by `spell`.
Graph spelled(int64_t opset, ValueId (*spell)(Network&, ValueId)) {
  Network net({1, 4}, opset);
  const ValueId x = net.node("Add", {net.x, net.weight("shift", {4})}, "shift");
  net.graph.set_outputs({spell(net, x)});
  return net.graph;
}

ValueId number(Network& net, double x) {
  return net.graph.add_constant("number", Tensor::scalar(static_cast<float>(x)));
}

ValueId swish(Network& net, ValueId x) {
  return net.node("Mul", {net.node("Sigmoid", {x}, "gate"), x}, "out");
}

ValueId scaled_swish(Network& net, ValueId x) {
  const ValueId inner = net.node("Mul", {x, number(net, 1.702)}, "inner");
  return net.node("Mul", {x, net.node("Sigmoid", {inner}, "gate")}, "out");
}

ValueId hard_swish(Network& net, ValueId x) {
  const Attributes slope = {{"alpha", 1.0f / 6}};
  return net.node("Mul", {x, net.node("HardSigmoid", {x}, "gate", slope)}, "out");
}

ValueId clipped_swish(Network& net, ValueId x) {
  const ValueId plus = net.node("Add", {x, number(net, 3)}, "plus");
  const ValueId clip = net.node("Clip", {plus, number(net, 0), number(net, 6)}, "clip");
  return net.node("Div", {net.node("Mul", {x, clip}, "product"), number(net, 6)}, "out");
}

ValueId gelu(Network& net, ValueId x) {
  const ValueId inner = net.node("Div", {x, number(net, std::numbers::sqrt2)}, "inner");
  const ValueId erf = net.node("Erf", {inner}, "erf");
  const ValueId plus = net.node("Add", {erf, number(net, 1)}, "plus");
  return net.node("Mul", {net.node("Mul", {x, plus}, "product"), number(net, 0.5)}, "out");
}

ValueId gelu_tanh(Network& net, ValueId x) {
  const ValueId cube = net.node("Pow", {x, number(net, 3)}, "cube");
  const ValueId small = net.node("Mul", {number(net, 0.044715), cube}, "small");
  const ValueId sum = net.node("Add", {x, small}, "sum");
  const ValueId inner = net.node("Mul", {sum, number(net, std::sqrt(2 / std::numbers::pi))}, "in");
  const ValueId plus = net.node("Add", {number(net, 1), net.node("Tanh", {inner}, "tanh")}, "plus");
  const ValueId half = net.node("Mul", {x, number(net, 0.5)}, "half");
  return net.node("Mul", {half, plus}, "out");
}

struct Spelling {
  ValueId (*spell)(Network&, ValueId);
  int64_t opset;  ///< That knows the operator.
  std::string_view op;
};

const Spelling kSpellings[] = {{swish, 24, "Swish"},
                               {scaled_swish, 24, "Swish"},
                               {hard_swish, 14, "HardSwish"},
                               {clipped_swish, 14, "HardSwish"},
                               {gelu, 20, "Gelu"},
                               {gelu_tanh, 20, "Gelu"}};

TEST(FuseActivations, WritesEverySpellingAsOneOperatorThatComputesTheSame) {
  for (const Spelling& spelling : kSpellings) {
    Graph graph = spelled(spelling.opset, spelling.spell);
    const Graph before = graph;
    run(make_fuse_activations(), graph);
    EXPECT_EQ(count(graph, spelling.op), 1) << spelling.op;
    EXPECT_EQ(graph.order().size(), 2u) << spelling.op;
    EXPECT_LT(difference(before, graph, noise({3, 4}, 5)), 1e-5) << spelling.op;
  }
}

TEST(FuseActivations, LeavesWhatTheOpsetDoesNotKnow) {
  for (const Spelling& spelling : kSpellings) {
    Graph graph = spelled(13, spelling.spell);
    const uint64_t revision = graph.revision();
    run(make_fuse_activations(), graph);
    EXPECT_EQ(graph.revision(), revision) << spelling.op;
  }
}

TEST(FuseActivations, LeavesAGateThatIsUsedElsewhere) {
  Network net({1, 4}, 24);
  const ValueId x = net.node("Add", {net.x, net.weight("shift", {4})}, "shift");
  const ValueId out = swish(net, x);
  net.graph.set_outputs({out, net.graph.node(*net.graph.value(out).producer).inputs[0]});
  const uint64_t revision = net.graph.revision();
  run(make_fuse_activations(), net.graph);
  EXPECT_EQ(net.graph.revision(), revision);
}

TEST(QuantizeInt8, StoresNothingInsideASpelledActivation) {
  Network net({1, 3, 8, 8});
  ValueId y = net.conv("one", net.x, 4);
  y = net.conv("two", swish(net, y), 4);
  net.graph.set_outputs({y});
  const Dataset data = images({8, 3, 8, 8});
  const Graph before = net.graph;
  quantize(net.graph, data);
  // In front of the Sigmoid and the Mul one DequantizeLinear, behind the Mul a QuantizeLinear.
  EXPECT_EQ(maker(net.graph, "out", 0).op, "Sigmoid");
  EXPECT_EQ(&maker(net.graph, "out", 1), &maker(net.graph, "gate", 0));
  EXPECT_EQ(maker(net.graph, "gate", 0).op, "DequantizeLinear");
  EXPECT_EQ(maker(net.graph, "two", 0).op, "DequantizeLinear");
  EXPECT_GT(compare(before, net.graph, data).sqnr_db, 30);
}

}  // namespace
}  // namespace pare
