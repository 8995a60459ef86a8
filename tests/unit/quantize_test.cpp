// quantize-int8: arithmetic, placement, accuracy.

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <set>

#include "calib/observer.h"
#include "passes/quantize_int8_scales.h"
#include "quantize_graphs.h"

namespace pare {
namespace {

// -- Arithmetic ----------------------------------------------------------------------------------

TEST(ActivationCode, HoldsZeroExactlyAndDoesNotExceedTheRange) {
  const ActivationCode relu6 = activation_code({0.5f, 6}, DType::kU8, false);
  EXPECT_EQ(relu6.zero_point, 0);
  EXPECT_LE(relu6.scale * 255.0f, 6.0f);
  EXPECT_NEAR(relu6.scale, 6.0f / 255, 1e-8);
  EXPECT_EQ(activation_code({-1, 1}, DType::kU8, false).zero_point, 128);
  EXPECT_EQ(activation_code({0, 1}, DType::kI8, false).zero_point, -128);
  EXPECT_EQ(activation_code({-3, 1}, DType::kI8, true).zero_point, 0);
  EXPECT_FLOAT_EQ(activation_code({-3, 1}, DType::kI8, true).scale, 3.0f / 127);
  EXPECT_EQ(activation_code({0, 0}, DType::kU8, false).scale, 1.0f);
}

TEST(WeightCode, IsSymmetricPerChannelAndKeepsWhatIsOnTheGrid) {
  const Tensor w({2, 2}, std::vector<float>{-1, 64.0f / 127, 0, 0.25f});
  const WeightCode code = weight_code(w, 0, weight_steps(8, false));
  EXPECT_FLOAT_EQ(code.scales[0], 1.0f / 127);
  EXPECT_FLOAT_EQ(code.scales[1], 0.25f / 127);
  const Tensor q = encode(w, code);
  EXPECT_EQ(std::vector<int8_t>(q.data<int8_t>().begin(), q.data<int8_t>().end()),
            (std::vector<int8_t>{-127, 64, 0, 127}));
}

TEST(WeightCode, AChannelOfZerosTakesTheScaleOfAnother) {
  const WeightCode code =
      weight_code(Tensor({2, 1}, std::vector<float>{0, 1}), 0, weight_steps(8, false));
  EXPECT_EQ(code.scales[0], code.scales[1]);
}

TEST(WeightCode, MakesRoomForALargeBias) {
  WeightCode code =
      weight_code(Tensor({2, 1}, std::vector<float>{1e-9f, 1}), 0, weight_steps(8, false));
  EXPECT_TRUE(make_room_for_bias(code, {5, 5}, 0.01));
  const double steps = 5 / (0.01 * static_cast<double>(code.scales[0]));
  EXPECT_LT(steps, std::ldexp(1.0, 30) * 1.001);
  EXPECT_FALSE(make_room_for_bias(code, {5, 5}, 0.01));
}

// -- Placement -----------------------------------------------------------------------------------

TEST(QuantizeInt8, StaysCloseToTheFloatNetwork) {
  const Dataset data = images({16, 3, 8, 8});
  for (const DType dtype : {DType::kU8, DType::kI8}) {
    for (const bool symmetric : {false, true}) {
      for (const bool per_channel : {false, true}) {
        Network net = residual_network();
        const Graph before = net.graph;
        QuantizeInt8Options options;
        options.activations = dtype;
        options.symmetric = symmetric;
        options.per_channel = per_channel;
        quantize(net.graph, data, options);
        EXPECT_GT(compare(before, net.graph, data).sqnr_db, 25)
            << symmetric << per_channel << to_string(dtype);
      }
    }
  }
}

TEST(QuantizeInt8, FittingWeightsToTheSamplesHelpsMostWithFewBits) {
  const Dataset data = images({64, 3, 8, 8});
  for (const int bits : {8, 4, 3}) {
    std::array<double, 3> sqnr{};
    for (const size_t way : {0u, 1u, 2u}) {
      Network net = residual_network();
      const Graph before = net.graph;
      QuantizeInt8Options options;
      options.weight_bits = bits;
      options.edges_at_8 = false;
      options.correct = way > 0;
      options.rounding = way > 1 ? Rounding::kCompensated : Rounding::kNearest;
      quantize(net.graph, data, options);
      sqnr[way] = compare(before, net.graph, data).sqnr_db;
    }
    EXPECT_GT(sqnr[2], sqnr[0] + (bits < 8 ? 3 : 0)) << bits;
  }
}

TEST(QuantizeInt8, WeightsOfFewBitsUseNoOtherIntegers) {
  for (const bool edges_at_8 : {false, true}) {
    Network net = residual_network();
    QuantizeInt8Options options;
    options.weight_bits = 3;
    options.edges_at_8 = edges_at_8;
    quantize(net.graph, images({8, 3, 8, 8}), options);
    for (const std::string name : {"stem", "inner", "fc"}) {
      const auto [low, high] = extremes(net.graph, name);
      const bool narrow = !edges_at_8 || name == "inner";
      EXPECT_EQ(low >= -4 && high <= 3, narrow) << name;
      EXPECT_LT(low, high) << name;
    }
  }
}

TEST(QuantizeInt8, OverridesGiveLayersWidthsOfTheirOwn) {
  Network net = residual_network();
  QuantizeInt8Options options;
  options.weight_bits = 4;
  for (const char* text : {"*=int3", "stem=int8", "Gemm=float"})
    options.overrides.push_back(LayerBits::parse(text));
  const PassStats stats = quantize(net.graph, images({8, 3, 8, 8}), options);
  EXPECT_LT(extremes(net.graph, "stem").first, -8);
  EXPECT_GE(extremes(net.graph, "inner").first, -4);
  EXPECT_EQ(net.graph.type(net.graph.node(net.graph.order().back()).inputs[1]).dtype, DType::kF32);
  EXPECT_EQ(std::get<int64_t>(stats.at("left in float: excluded")), 1);
  const StatTable& left = std::get<StatTable>(stats.at("left in float"));
  const auto classifier = std::ranges::find_if(
      left.rows, [](const auto& row) { return std::get<std::string>(row[0]) == "fc"; });
  ASSERT_NE(classifier, left.rows.end());
  EXPECT_EQ(std::get<std::string>((*classifier)[2]), "excluded");
  const StatTable& layers = std::get<StatTable>(stats.at("weights"));
  ASSERT_EQ(layers.rows.size(), 2u);
  EXPECT_EQ(std::get<int64_t>(layers.rows[1][2]), 3) << "bits of 'inner'";
  EXPECT_LT(std::get<double>(layers.rows[1][3]), std::get<double>(layers.rows[0][3]));
  for (const char* text : {"stem", "=int8", "stem=int9", "stem=int1", "stem=half", "stem=int"})
    EXPECT_THROW(LayerBits::parse(text), Error) << text;
}

TEST(QuantizeInt8, FourBitTensorsMeanTheSame) {
  const Dataset data = images({8, 3, 8, 8});
  Network wide = residual_network(), packed = residual_network();
  QuantizeInt8Options options;
  options.weight_bits = 4;
  quantize(wide.graph, data, options);
  options.packed = true;
  quantize(packed.graph, data, options);
  EXPECT_EQ(packed.graph.opset(), 21);
  EXPECT_EQ(packed.graph.type(maker(packed.graph, "inner", 1).inputs[0]).dtype, DType::kI4);
  EXPECT_EQ(packed.graph.type(maker(packed.graph, "stem", 1).inputs[0]).dtype, DType::kI8);
  // The plan computes the wide one on integers, which differs on near ties.
  EXPECT_GT(compare(wide.graph, packed.graph, data).sqnr_db, 30);
}

TEST(QuantizeInt8, SixteenBitActivationsLoseLittle) {
  const Dataset data = images({8, 3, 8, 8});
  for (const DType dtype : {DType::kU16, DType::kI16}) {
    Network net = residual_network();
    const Graph before = net.graph;
    QuantizeInt8Options options;
    options.activations = dtype;
    options.ranges = RangeMethod::kMinMax;
    quantize(net.graph, data, options);
    EXPECT_GT(compare(before, net.graph, data).sqnr_db, 38) << to_string(dtype);
  }
}

TEST(QuantizeInt8, ABiasMakesUpForTheMeanErrorOfRounding) {
  // One Conv, weights a third of a step off the coarse grid, inputs that are never negative.
  Network net({1, 4, 6, 6});
  const ValueId x = net.node("Relu", {net.conv("first", net.x, 4)}, "relu");
  const ValueId y = net.conv("second", x, 4);
  net.graph.set_outputs({y});
  const Dataset data = images({32, 4, 6, 6});
  const Graph before = net.graph;
  QuantizeInt8Options options;
  options.weight_bits = 3;
  options.rounding = Rounding::kNearest;
  quantize(net.graph, data, options);
  const std::vector<int64_t> all = data.spread(32);
  const Tensor a = run_outputs(before, data, all, {})[0];
  const Tensor b = run_outputs(net.graph, data, all, {})[0];
  for (size_t c = 0; c < 4; ++c) {
    double error = 0, size = 0;
    for (size_t n = 0; n < 32; ++n) {
      for (size_t i = 0; i < 36; ++i) {
        const size_t at = (n * 4 + c) * 36 + i;
        error += static_cast<double>(b.data<float>()[at] - a.data<float>()[at]);
        size += static_cast<double>(std::abs(a.data<float>()[at]));
      }
    }
    EXPECT_LT(std::abs(error), 0.02 * size) << c;
  }
}

TEST(QuantizeInt8, EveryOperandOfAnIntegerNodeIsDequantizedForItAlone) {
  Network net = residual_network();
  quantize(net.graph, images({4, 3, 8, 8}));
  for (const char* name : {"stem", "inner", "fc"}) {
    for (size_t slot = 0; slot < 3; ++slot)
      EXPECT_EQ(maker(net.graph, name, slot).op, "DequantizeLinear") << name << slot;
  }
  for (const char* name : {"pool", "average", "flatten"})
    EXPECT_EQ(maker(net.graph, name, 0).op, "DequantizeLinear") << name;
  EXPECT_EQ(maker(net.graph, "add", 1).op, "DequantizeLinear");
  for (const NodeId id : net.graph.order()) {
    const Node& node = net.graph.node(id);
    if (node.op != "DequantizeLinear") continue;
    EXPECT_EQ(net.graph.value(node.outputs[0]).uses.size(), 1u) << node.name;
  }
}

TEST(QuantizeInt8, NothingStandsBetweenANodeAndItsRelu) {
  Network net = residual_network();
  quantize(net.graph, images({4, 3, 8, 8}));
  EXPECT_EQ(maker(net.graph, "stem_relu", 0).op, "Conv");
  EXPECT_EQ(maker(net.graph, "add_relu", 0).op, "Add");
}

TEST(QuantizeInt8, AReluOfAValueUsedElsewhereHasAPairBefore) {
  Network net({1, 3, 8, 8});
  const ValueId y = net.conv("a", net.x, 4);
  const ValueId left = net.conv("b", net.node("Relu", {y}, "act"), 4);
  net.graph.set_outputs({net.node("Add", {left, y}, "add")});
  quantize(net.graph, images({4, 3, 8, 8}));
  EXPECT_EQ(maker(net.graph, "act", 0).op, "DequantizeLinear");
}

TEST(QuantizeInt8, OperatorsThatMoveElementsKeepTheScale) {
  Network net = residual_network();
  quantize(net.graph, images({4, 3, 8, 8}));
  // Behind the pool stands the pair that the inner conv reads.
  EXPECT_EQ(maker(net.graph, "pool", 0).inputs[1], maker(net.graph, "inner", 0).inputs[1]);
  EXPECT_EQ(maker(net.graph, "flatten", 0).inputs[1], maker(net.graph, "fc", 0).inputs[1]);
}

TEST(QuantizeInt8, ABiasHasTheScaleOfItsProducts) {
  Network net = residual_network();
  const Graph before = net.graph;
  QuantizeInt8Options options;
  options.correct = false;
  quantize(net.graph, images({4, 3, 8, 8}), options);
  const Node &x = maker(net.graph, "stem", 0), &w = maker(net.graph, "stem", 1),
             &b = maker(net.graph, "stem", 2);
  const float x_scale = net.graph.constant(x.inputs[1])->data<float>()[0];
  const auto w_scale = net.graph.constant(w.inputs[1])->data<float>();
  const auto b_scale = net.graph.constant(b.inputs[1])->data<float>();
  const auto codes = net.graph.constant(b.inputs[0])->data<int32_t>();
  for (size_t c = 0; c < 8; ++c) {
    EXPECT_FLOAT_EQ(b_scale[c], x_scale * w_scale[c]);
    const float bias = before.constant(before.node(before.order()[0]).inputs[2])->data<float>()[c];
    EXPECT_NEAR(static_cast<float>(codes[c]) * b_scale[c], bias, b_scale[c]);
  }
  EXPECT_EQ(w.attribute("axis", int64_t{9}), 0);
}

TEST(QuantizeInt8, AGemmLeavesTheOutputOfTheModelInFloat) {
  Network net = residual_network();
  const std::string name = net.graph.value(net.graph.outputs()[0]).name;
  quantize(net.graph, images({4, 3, 8, 8}));
  const Value& output = net.graph.value(net.graph.outputs()[0]);
  EXPECT_EQ(net.graph.node(*output.producer).op, "Gemm");
  EXPECT_EQ(output.name, name);
}

TEST(QuantizeInt8, AConvThatMakesTheOutputOfTheModelKeepsItsName) {
  Network net({1, 3, 8, 8});
  const ValueId y = net.conv("a", net.x, 4);
  net.graph.set_outputs({y, net.conv("b", y, 4)});
  const std::string name = net.graph.value(y).name;
  const Graph before = net.graph;
  const Dataset data = images({4, 3, 8, 8});
  quantize(net.graph, data);
  const Value& output = net.graph.value(net.graph.outputs()[0]);
  EXPECT_EQ(net.graph.node(*output.producer).op, "DequantizeLinear");
  EXPECT_EQ(output.name, name);
  EXPECT_GT(compare(before, net.graph, data).sqnr_db, 25);
}

TEST(QuantizeInt8, WeightsTwoNodesShareAreStoredOnce) {
  Network net({1, 4, 8, 8});
  const ValueId w = net.weight("w", {4, 4, 1, 1});
  const ValueId y = net.node("Conv", {net.x, w}, "first");
  net.graph.set_outputs({net.node("Conv", {y, w}, "second")});
  quantize(net.graph, images({4, 4, 8, 8}));
  EXPECT_EQ(maker(net.graph, "first", 1).inputs, maker(net.graph, "second", 1).inputs);
  EXPECT_EQ(count(net.graph, "DequantizeLinear"), 5) << "x, w, y, w again, output";
}

TEST(QuantizeInt8, ConcatAndConstantOperandsAreQuantized) {
  Network net({1, 4, 8, 8});
  const ValueId a = net.conv("a", net.x, 4), b = net.conv("b", net.x, 4);
  ValueId y = net.node("Concat", {a, b}, "concat", {{"axis", int64_t{1}}});
  y = net.node("Mul", {y, net.weight("m", {1, 8, 1, 1})}, "mul");
  net.graph.set_outputs({net.conv("c", y, 2)});
  const Graph before = net.graph;
  const Dataset data = images({4, 4, 8, 8});
  quantize(net.graph, data);
  EXPECT_EQ(maker(net.graph, "concat", 1).op, "DequantizeLinear");
  EXPECT_EQ(maker(net.graph, "mul", 1).op, "DequantizeLinear");
  EXPECT_GT(compare(before, net.graph, data).sqnr_db, 25);
}

TEST(QuantizeInt8, WhatOnlyAConcatReadsIsStoredAsTheWholeIs) {
  Network net({1, 3, 8, 8});
  const ValueId shared = net.node("Relu", {net.conv("shared", net.x, 4)}, "shared_relu");
  const ValueId alone = net.node("Relu", {net.conv("alone", net.x, 4)}, "alone_relu");
  const ValueId joined = net.node("Concat", {alone, shared}, "join", {{"axis", int64_t{1}}});
  net.graph.set_outputs({net.conv("last", joined, 2), net.conv("other", shared, 2)});
  quantize(net.graph, images({8, 3, 8, 8}));
  const ValueId whole = maker(net.graph, "last", 0).inputs[1];
  EXPECT_EQ(maker(net.graph, "join", 0).inputs[1], whole);
  EXPECT_NE(maker(net.graph, "join", 1).inputs[1], whole) << "'other' reads it too";
}

TEST(EntropyRange, CutsOffRareOutliersOnly) {
  HistogramObserver compact({0, 4}), tailed({0, 40});
  std::vector<float> body;
  for (int i = 0; i < 40000; ++i)  // Quantiles of an exponential distribution, up to 3.4.
    body.push_back(-0.3f * std::log(1 - (static_cast<float>(i) + 0.5f) / 40000));
  compact.observe(body);
  tailed.observe(body);
  tailed.observe(std::vector<float>{40, 39, 38});
  EXPECT_GT(entropy_range(compact, 256).high, 1.0f);
  EXPECT_LT(entropy_range(tailed, 256).high, 20.0f);
  EXPECT_GT(entropy_range(tailed, 256).high, 2.0f);
}

TEST(EntropyRange, ExactZerosDoNotMatter) {
  HistogramObserver without({0, 40}), with({0, 40});
  std::vector<float> body;
  for (int i = 1; i < 40000; ++i) body.push_back(static_cast<float>(i) / 1000);
  without.observe(body);
  with.observe(body);
  with.observe(std::vector<float>(1'000'000, 0.0f));
  EXPECT_EQ(entropy_range(with, 256), entropy_range(without, 256));
}

TEST(QuantizeInt8, AttentionAndBatchedWeightsAreQuantized) {
  Network net({1, 6, 8});
  const ValueId q = net.node("MatMul", {net.x, net.weight("q.w", {8, 8})}, "q");
  const ValueId k = net.node("MatMul", {net.x, net.weight("k.w", {1, 8, 8})}, "k");
  const ValueId t = net.node("Transpose", {k}, "t", {{"perm", std::vector<int64_t>{0, 2, 1}}});
  const ValueId scores = net.node("MatMul", {q, t}, "scores");
  net.graph.set_outputs({net.node("Softmax", {scores}, "softmax", {{"axis", int64_t{2}}})});
  const Graph before = net.graph;
  const Dataset data = images({4, 6, 8});
  const PassStats stats = quantize(net.graph, data);
  EXPECT_EQ(std::get<int64_t>(stats.at("nodes quantized")), 4);
  EXPECT_GT(compare(before, net.graph, data).sqnr_db, 20);
}

TEST(QuantizeInt8, TheBiasOfAMatMulIsAddedInFloat) {
  Network net({1, 6, 8});
  ValueId y = net.node("MatMul", {net.x, net.weight("a", {8, 8})}, "first");
  y = net.node("Add", {net.weight("bias", {8}), y}, "bias");
  y = net.node("Relu", {y}, "act");
  net.graph.set_outputs({net.node("MatMul", {y, net.weight("b", {8, 8})}, "last")});
  const Graph before = net.graph;
  const Dataset data = images({4, 6, 8});
  quantize(net.graph, data);
  EXPECT_EQ(maker(net.graph, "bias", 1).op, "MatMul");
  EXPECT_EQ(maker(net.graph, "act", 0).op, "Add");
  EXPECT_EQ(maker(net.graph, "last", 0).op, "DequantizeLinear");
  EXPECT_GT(compare(before, net.graph, data).sqnr_db, 30);
}

TEST(QuantizeInt8, ADecomposedNormalizationStaysInFloat) {
  Network net({1, 6, 8});
  const ValueId x = net.node("MatMul", {net.x, net.weight("a", {8, 8})}, "first");
  const ValueId mean = net.node("ReduceMean", {x}, "mean", {{"axes", std::vector<int64_t>{-1}}});
  const ValueId d = net.node("Sub", {x, mean}, "d");
  const ValueId var = net.node("ReduceMean", {net.node("Mul", {d, d}, "square")}, "var",
                               {{"axes", std::vector<int64_t>{-1}}});
  const ValueId epsilon = net.graph.add_constant("epsilon", Tensor::scalar(1e-5f));
  const ValueId root = net.node("Sqrt", {net.node("Add", {var, epsilon}, "plus")}, "root");
  const ValueId y = net.node("Div", {d, root}, "y");
  net.graph.set_outputs({net.node("MatMul", {y, net.weight("b", {8, 8})}, "last")});
  const PassStats stats = quantize(net.graph, images({4, 6, 8}));
  EXPECT_EQ(std::get<int64_t>(stats.at("nodes quantized")), 2);
  EXPECT_EQ(maker(net.graph, "plus", 0).op, "ReduceMean");
}

// -- Choice --------------------------------------------------------------------------------------

TEST(QuantizeInt8, ExcludedNodesStayInFloatAndAreCounted) {
  Network net = residual_network();
  QuantizeInt8Options options;
  options.exclude = {"ste*", "Gemm", "nothing"};
  std::vector<std::string> warnings;
  const PassStats stats = quantize(net.graph, images({4, 3, 8, 8}), options, &warnings);
  EXPECT_GE(std::get<int64_t>(stats.at("left in float: excluded")), 2);
  EXPECT_TRUE(net.graph.constant(net.graph.node(net.graph.order()[0]).inputs[1]))
      << "the stem reads its float weight";
  EXPECT_EQ(warnings, (std::vector<std::string>{"no node or operator matches 'nothing'"}));
}

TEST(QuantizeInt8, WhatIsQuantizedAlreadyIsLeftAlone) {
  Network net = residual_network();
  const Dataset data = images({4, 3, 8, 8});
  quantize(net.graph, data);
  const std::string once = to_text(net.graph);
  const PassStats stats = quantize(net.graph, data);
  EXPECT_EQ(to_text(net.graph), once);
  EXPECT_GT(std::get<int64_t>(stats.at("left in float: already quantized")), 2);
}

TEST(QuantizeInt8, AValueThatIsNeverFiniteStaysInFloat) {
  Network net({1, 4, 8, 8});
  const ValueId zero = net.graph.add_constant("zero", Tensor::scalar(0.0f));
  const ValueId infinite = net.node("Div", {net.node("Exp", {net.x}, "exp"), zero}, "infinite");
  net.graph.set_outputs({net.conv("a", infinite, 4)});
  const PassStats stats = quantize(net.graph, images({4, 4, 8, 8}));
  EXPECT_EQ(std::get<int64_t>(stats.at("nodes quantized")), 0);
  EXPECT_EQ(std::get<int64_t>(stats.at("left in float: no finite range observed")), 1);
}

TEST(QuantizeInt8, AnOlderModelIsTakenToOpset13) {
  Network net = residual_network(11);
  std::vector<std::string> warnings;
  quantize(net.graph, images({4, 3, 8, 8}), {}, &warnings);
  EXPECT_EQ(net.graph.opset(), 13);
  EXPECT_EQ(warnings,
            (std::vector<std::string>{
                "the model was converted from opset 11 to 13, which this quantization needs"}));
}

TEST(QuantizeInt8, IsTheSameAtAnyThreadCount) {
  const Dataset data = images({9, 3, 8, 8});
  std::set<std::string> scales;
  for (const int threads : {1, 4}) {
    Network net = residual_network();
    PassContext context;
    context.data = &data;
    context.threads = threads;
    QuantizeInt8Options options;
    options.ranges = RangeMethod::kLeastSquares;
    make_quantize_int8(options)->run(net.graph, context);
    std::string bytes;
    for (uint32_t i = 0; i < net.graph.value_count(); ++i) {
      const Tensor* constant = net.graph.constant(ValueId{i});
      if (!constant) continue;
      for (const std::byte b : constant->bytes()) bytes += static_cast<char>(b);
    }
    scales.insert(bytes);
  }
  EXPECT_EQ(scales.size(), 1u);
}

}  // namespace
}  // namespace pare
