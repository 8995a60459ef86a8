// The profile for hardware that rescales by shifting: rules, integer simulation, dumps.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "passes/power_of_two.h"
#include "passes/shift_arithmetic.h"
#include "passes/shift_check.h"
#include "passes/shift_rules.h"
#include "passes/shift_simulator.h"
#include "quantize_graphs.h"

namespace pare {
namespace {

QuantizeInt8Options dpu() {
  QuantizeInt8Options options;
  options.power_of_two = true;
  options.activations = DType::kI8;
  options.symmetric = true;
  options.per_channel = false;
  options.ranges = RangeMethod::kMinMax;
  return options;
}

/// Stem, a depthwise block with a Clip, a Concat, a pool of 7 x 7 and a classifier.
Network mobile_network() {
  Network net({1, 3, 14, 14});
  ValueId y = net.node("Relu", {net.conv("stem", net.x, 8)}, "stem_relu");
  ValueId z = net.node("Conv", {y, net.weight("dw.w", {8, 1, 3, 3}), net.weight("dw.b", {8})}, "dw",
                       {{"group", int64_t{8}}, {"pads", std::vector<int64_t>{1, 1, 1, 1}}});
  const ValueId low = net.graph.add_constant("low", Tensor::scalar(0.0f));
  const ValueId high = net.graph.add_constant("high", Tensor::scalar(6.0f));
  z = net.node("Clip", {z, low, high}, "clip");
  y = net.node("Concat", {y, z}, "join", {{"axis", int64_t{1}}});
  y = net.node(
      "AveragePool", {y}, "average",
      {{"kernel_shape", std::vector<int64_t>{7, 7}}, {"strides", std::vector<int64_t>{7, 7}}});
  y = net.node("Flatten", {y}, "flatten");
  y = net.node("Gemm", {y, net.weight("fc.w", {64, 5}), net.weight("fc.b", {5})}, "fc");
  net.graph.set_outputs({y});
  return net;
}

int64_t different(const std::vector<TensorMatch>& matches) {
  int64_t sum = 0;
  for (const TensorMatch& match : matches) sum += match.different;
  return sum;
}

TEST(Shifted, RoundsHalvesToEvenOrUp) {
  const auto even = [](int64_t n, int shift) {
    return shifted(n, shift, ShiftRounding::kHalfEven);
  };
  const auto up = [](int64_t n, int shift) { return shifted(n, shift, ShiftRounding::kHalfUp); };
  EXPECT_EQ(even(3, 1), 2);
  EXPECT_EQ(even(5, 1), 2);
  EXPECT_EQ(even(-5, 1), -2);
  EXPECT_EQ(even(-3, 1), -2);
  EXPECT_EQ(up(5, 1), 3);
  EXPECT_EQ(up(-5, 1), -2);
  EXPECT_EQ(up(-7, 2), -2);
  EXPECT_EQ(even(7, -3), 56);
  EXPECT_EQ(even(1000, 80), 0);
}

TEST(PoolFactor, IsWhatTheHardwareMultipliesBy) {
  const auto factor = [](int64_t h, int64_t w) {
    const PoolFactor f = pool_factor(h, w);
    return std::make_pair(f.multiplier, f.shift);
  };
  EXPECT_EQ(factor(3, 3), std::make_pair(int64_t{7}, 6));
  EXPECT_EQ(factor(7, 7), std::make_pair(int64_t{21}, 10));
  EXPECT_EQ(factor(8, 8), std::make_pair(int64_t{1}, 6));
  EXPECT_EQ(factor(2, 4), std::make_pair(int64_t{1}, 3));
  const auto [multiplier, shift] = factor(4, 3);
  EXPECT_NEAR(std::ldexp(static_cast<double>(multiplier), -shift), 1.0 / 12, 1.0 / 1536);
}

TEST(DpuProfile, MakesModelsThatObeyItsRules) {
  for (Network net : {residual_network(), mobile_network()}) {
    const Dataset data = images({16, 3, net.graph.shape(net.x)[2], net.graph.shape(net.x)[3]});
    quantize(net.graph, data, dpu());
    for (const RuleBreak& rule : check_shift_rules(net.graph).breaks)
      ADD_FAILURE() << rule.sentence;
  }
}

TEST(DpuProfile, StaysCloseToTheFloatNetwork) {
  Network net = residual_network();
  const Graph before = net.graph;
  const Dataset data = images({64, 3, 8, 8});
  quantize(net.graph, data, dpu());
  EXPECT_GT(compare(before, net.graph, data).sqnr_db, 24);
}

/// Extents are computed from one sample when the model is read, but samples run eight at a time.
TEST(DpuProfile, RunsAReshapeToAComputedShape) {
  Network net({1, 3, 8, 8});
  const ValueId y = net.conv("first", net.x, 8);
  const ValueId shape = net.node("Shape", {y}, "shape");
  net.graph.set_outputs(
      {net.conv("third", net.node("Reshape", {net.conv("second", y, 8), shape}, "reshape"), 8)});
  net.graph.infer_types();
  const Graph before = net.graph;
  const Dataset data = images({16, 3, 8, 8});
  quantize(net.graph, data, dpu());
  EXPECT_EQ(maker(net.graph, "reshape", 0).op, "DequantizeLinear");
  EXPECT_GT(compare(before, net.graph, data).sqnr_db, 24);
}

TEST(DpuProfile, OperandsOfASumHaveOneScale) {
  Network net = residual_network();
  quantize(net.graph, images({16, 3, 8, 8}), dpu());
  EXPECT_EQ(exponent_of_scale(net.graph, maker(net.graph, "add", 0).inputs[1]),
            exponent_of_scale(net.graph, maker(net.graph, "add", 1).inputs[1]));
}

TEST(DpuProfile, APoolIsDividedAsTheHardwareDoes) {
  Network net = mobile_network();
  const PassStats stats = quantize(net.graph, images({16, 3, 14, 14}), dpu());
  EXPECT_EQ(std::get<int64_t>(stats.at("pools divided as the hardware does")), 1);
  const Node& factor = maker(net.graph, "average_factor", 0);
  EXPECT_EQ(factor.name, "average") << "no pair between the pool and its factor";
}

TEST(ShiftRules, NameTheNodeThatBreaksThem) {
  Network net = residual_network();
  quantize(net.graph, images({16, 3, 8, 8}));
  const RuleCheck check = check_shift_rules(net.graph);
  ASSERT_FALSE(check.breaks.empty());
  EXPECT_EQ(check.breaks[0].sentence,
            "node 'stem.w_DequantizeLinear' (DequantizeLinear): the scale of 'stem.w_quantized' is "
            "no power of two for all of it");
}

TEST(ShiftRules, AWeightedNodeInFloatBreaksThem) {
  Network net = residual_network();
  QuantizeInt8Options options = dpu();
  options.exclude = {"fc"};
  quantize(net.graph, images({16, 3, 8, 8}), options);
  const RuleCheck check = check_shift_rules(net.graph);
  ASSERT_EQ(check.breaks.size(), 1u) << check.breaks.back().sentence;
  EXPECT_THAT(check.breaks[0].sentence,
              testing::HasSubstr("node 'fc' (Gemm): multiplies in float"));
}

TEST(ShiftRules, ASumOfTwoScalesBreaksThem) {
  Network net = residual_network();
  quantize(net.graph, images({16, 3, 8, 8}), dpu());
  const Node& operand = maker(net.graph, "add", 0);
  const ValueId scale = net.graph.add_constant(
      "half", Tensor::scalar(net.graph.constant(operand.inputs[1])->data<float>()[0] / 2));
  net.graph.set_input(*net.graph.value(operand.outputs[0]).producer, 1, scale);
  const RuleCheck check = check_shift_rules(net.graph);
  ASSERT_EQ(check.breaks.size(), 1u);
  EXPECT_THAT(check.breaks[0].sentence,
              testing::AllOf(testing::HasSubstr("node 'add' (Add): operand "),
                             testing::HasSubstr("as the others have")));
}

TEST(ShiftSimulator, ComputesInIntegersWhatTheModelSays) {
  for (Network net : {residual_network(), mobile_network()}) {
    const Shape image = {2, 3, net.graph.shape(net.x)[2], net.graph.shape(net.x)[3]};
    quantize(net.graph, images({16, 3, image[2], image[3]}), dpu());
    const std::vector<TensorMatch> matches =
        compare_with_float(net.graph, {noise(image, 7)}, ShiftRounding::kHalfEven);
    EXPECT_GE(matches.size(), 6u);
    EXPECT_EQ(different(matches), 0) << "small sums are exact in float, halves go to even in both";
    int64_t ties = 0;
    for (const TensorMatch& match :
         compare_with_float(net.graph, {noise(image, 7)}, ShiftRounding::kHalfUp)) {
      EXPECT_LE(match.largest, 2) << match.tensor;
      ties += match.different;
    }
    EXPECT_GT(ties, 0) << "halves that go up must show";
  }
}

TEST(ShiftCheck, NamesTheFirstTensorOfADumpThatDiffers) {
  Network net = mobile_network();
  quantize(net.graph, images({16, 3, 14, 14}), dpu());
  const std::vector<Tensor> inputs = {noise({1, 3, 14, 14}, 7)};
  std::map<std::string, Tensor> dump;
  simulate_shifts(net.graph, inputs, ShiftRounding::kHalfEven,
                  [&](NodeId id, const FixedPoint& codes) {
                    dump.emplace(net.graph.value(net.graph.node(id).inputs[0]).name,
                                 Tensor(codes.shape, codes.numbers));
                  });
  const auto compare = [&] {
    return compare_with_dump(net.graph, inputs, ShiftRounding::kHalfEven, dump);
  };
  EXPECT_EQ(compare().size(), dump.size());
  EXPECT_EQ(different(compare()), 0);
  std::string name;
  for (const NodeId id : net.graph.order())
    if (net.graph.node(id).op == "Clip") name = net.graph.value(net.graph.node(id).outputs[0]).name;
  dump.at(name).mutable_data<int32_t>()[14] += 3;
  for (const TensorMatch& match : compare()) {
    if (match.different == 0) continue;
    EXPECT_EQ(net.graph.node(match.maker).name, "dw") << "the node before the Clip made it";
    EXPECT_EQ(match.tensor, name);
    EXPECT_EQ(match.different, 1);
    EXPECT_EQ(match.largest, 3);
    EXPECT_EQ(match.at, (std::vector<int64_t>{0, 0, 1, 0}));
  }
  EXPECT_EQ(different(compare()), 1);
}

TEST(ShiftCheck, RefusesADumpOfAnotherSize) {
  Network net = mobile_network();
  quantize(net.graph, images({16, 3, 14, 14}), dpu());
  const std::map<std::string, Tensor> dump = {{"x", Tensor(DType::kI8, {1, 3, 7, 7})}};
  EXPECT_THROW(
      compare_with_dump(net.graph, {noise({1, 3, 14, 14}, 7)}, ShiftRounding::kHalfEven, dump),
      Error);
}

}  // namespace
}  // namespace pare
