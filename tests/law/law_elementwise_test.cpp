// The law of removal for operators that work element by element, reduce, or quantize: each by
// itself between two convolutions, then in random chains.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "exec/interpreter.h"
#include "law/slot_law.h"
#include "passes/remove_slots.h"

namespace pare {
namespace {

using Integers = std::vector<int64_t>;

constexpr uint32_t kSeeds = 4;
constexpr int64_t kNewest = 24;  ///< Opset with all of the operators here.

/// Puts `middle` between two convolutions of [N, 5, 4, 6] and holds the graph to the law; some
/// group must be free and matter.
template <typename Middle>
void hold_to_law(Middle&& middle, int64_t opset = kNewest) {
  for (uint32_t seed = 0; seed < kSeeds; ++seed) {
    LawGraph law(seed, opset);
    const ValueId stem = law.pointwise(law.batch_input({1, 3, 4, 6}), 5);
    law.graph.set_outputs({law.pointwise(middle(law, stem), 2)});
    const LawResult result = check_slot_law(law);
    EXPECT_GT(result.free_groups, 0);
    EXPECT_GT(result.effective, 0);
  }
}

/// Whether every channel of the stem of a graph built as above is pinned.
template <typename Middle>
bool pins_channels(Middle&& middle, int64_t opset = kNewest) {
  LawGraph law(1, opset);
  const ValueId stem = law.pointwise(law.batch_input({1, 3, 4, 6}), 5);
  law.graph.set_outputs({middle(law, stem)});
  const ChannelSlots slots = ChannelSlots::analyze(law.graph);
  bool pinned = true;
  for (int64_t i = 0; i < 5; ++i) pinned = pinned && slots.pinned(slots.group_of({stem, 1}, i));
  return pinned;
}

ValueId scalar(LawGraph& law, float value) {
  return law.graph.add_constant("s", Tensor::scalar(value));
}

ValueId integers(LawGraph& law, const Integers& values) {
  return law.graph.add_constant("i", Tensor({std::ssize(values)}, values));
}

/// A node of com.microsoft with one output.
ValueId contrib(LawGraph& law, const std::string& op, std::vector<ValueId> inputs,
                Attributes attributes = {}) {
  const ValueId y = law.graph.add_value(
      {.name = law.graph.unique_name(op + "_out"), .type = TensorType::unknown()});
  Node node;
  node.name = law.graph.value(y).name;
  node.domain = "com.microsoft";
  node.op = op;
  node.opset = 1;
  node.inputs = std::move(inputs);
  node.outputs = {y};
  node.attributes = std::move(attributes);
  law.graph.infer_types(law.graph.add_imported_node(std::move(node), false));
  return y;
}

// -- One operand -----------------------------------------------------------------

TEST(SlotLaw, HoldsForActivationsAndFunctions) {
  for (const char* op :
       {"Abs",      "Acos",      "Asin",    "Asinh", "Atan",        "Atanh",
        "Ceil",     "Celu",      "Cos",     "Cosh",  "Elu",         "Erf",
        "Exp",      "Floor",     "Gelu",    "Clip",  "HardSigmoid", "HardSwish",
        "Identity", "LeakyRelu", "Mish",    "Neg",   "Relu",        "Round",
        "Selu",     "Shrink",    "Sigmoid", "Sign",  "Sin",         "Sinh",
        "Softplus", "Softsign",  "Swish",   "Tan",   "Tanh",        "ThresholdedRelu"}) {
    SCOPED_TRACE(op);
    hold_to_law([&](LawGraph& law, ValueId x) {
      const ValueId bounded = law.node("Mul", {law.node("Tanh", {x}), scalar(law, 0.9f)});
      const ValueId y = law.node(op, {bounded});
      // Steps alone may not tell two channels apart.
      return law.node("Add", {y, law.node("Mul", {bounded, scalar(law, 0.5f)})});
    });
  }
}

TEST(SlotLaw, HoldsForFunctionsOfPositiveNumbers) {
  for (const char* op : {"Acosh", "Log", "Reciprocal", "Sqrt"}) {
    SCOPED_TRACE(op);
    hold_to_law([&](LawGraph& law, ValueId x) {
      return law.node(op, {law.node("Add", {law.node("Sigmoid", {x}), scalar(law, 1.5f)})});
    });
  }
}

TEST(SlotLaw, HoldsForClipInBothForms) {
  const Attributes bounds = {{"min", -0.5f}, {"max", 0.5f}};
  hold_to_law([&](LawGraph& law, ValueId x) { return law.node("Clip", {x}, bounds); }, 9);
  hold_to_law([&](LawGraph& law, ValueId x) {
    return law.node("Clip", {x, scalar(law, -0.5f), scalar(law, 0.5f)});
  });
}

TEST(SlotLaw, HoldsForCastsThereAndBack) {
  hold_to_law([](LawGraph& law, ValueId x) {
    const ValueId wide = law.node("Cast", {x}, {{"to", int64_t{11}}});
    return law.node("CastLike", {wide, x});
  });
}

TEST(SlotLaw, HoldsForDropoutAndItsMask) {
  hold_to_law([](LawGraph& law, ValueId x) {
    const ValueId y = law.node("Dropout", {x}, {}, 2);
    const ValueId mask = law.graph.node(*law.graph.value(y).producer).outputs[1];
    return law.node("Where", {mask, y, law.node("Neg", {y})});
  });
}

TEST(SlotLaw, HoldsForGelusOfOnnxRuntime) {
  for (const char* op : {"Gelu", "FastGelu", "QuickGelu"})
    hold_to_law([&](LawGraph& law, ValueId x) { return contrib(law, op, {x}); });
  for (const char* op : {"BiasGelu", "FastGelu"}) {
    hold_to_law([&](LawGraph& law, ValueId x) {
      const Attributes last = {{"perm", Integers{0, 2, 3, 1}}};
      const Attributes back = {{"perm", Integers{0, 3, 1, 2}}};
      const ValueId y = contrib(law, op, {law.node("Transpose", {x}, last), law.weight({5})});
      return law.node("Transpose", {y}, back);
    });
  }
}

// -- Two and more ----------------------------------------------------------------

TEST(SlotLaw, HoldsForBroadcastingInEitherDirection) {
  for (const char* op : {"Add", "Sub", "Mul", "Max", "Min", "Sum", "Mean"}) {
    for (const Shape& shape : {Shape{5, 1, 1}, Shape{1, 5, 1, 1}, Shape{}, Shape{1}, Shape{4, 6},
                               Shape{5, 4, 6}, Shape{1, 5, 4, 1}}) {
      SCOPED_TRACE(std::string(op) + to_string(shape));
      hold_to_law([&](LawGraph& law, ValueId x) { return law.node(op, {x, law.weight(shape)}); });
      hold_to_law([&](LawGraph& law, ValueId x) { return law.node(op, {law.weight(shape), x}); });
    }
  }
}

TEST(SlotLaw, HoldsForDivisionPowerAndRemainder) {
  const auto positive = [](LawGraph& law, ValueId x) {
    return law.node("Add", {law.node("Sigmoid", {x}), scalar(law, 0.5f)});
  };
  for (const char* op : {"Div", "Pow"}) {
    hold_to_law([&](LawGraph& law, ValueId x) {
      return law.node(op, {positive(law, x), positive(law, law.pointwise(x, 5))});
    });
  }
  hold_to_law([&](LawGraph& law, ValueId x) {
    return law.node("Mod", {x, positive(law, law.pointwise(x, 5))}, {{"fmod", int64_t{1}}});
  });
}

TEST(SlotLaw, HoldsForResidualsOfThreeBranches) {
  for (const char* op : {"Sum", "Max", "Mean"}) {
    hold_to_law([&](LawGraph& law, ValueId x) {
      return law.node(op, {x, law.pointwise(x, 5), law.node("Relu", {x}), law.weight({5, 1, 1})});
    });
  }
}

TEST(SlotLaw, HoldsForAGateThatBroadcastsOverSpace) {
  hold_to_law([](LawGraph& law, ValueId x) {
    const ValueId mean = law.node("ReduceMean", {x, integers(law, {2, 3})});
    const ValueId gate = law.node("Sigmoid", {law.pointwise(law.pointwise(mean, 3), 5)});
    return law.node("Mul", {gate, x});
  });
}

TEST(SlotLaw, HoldsForComparisonAndChoice) {
  for (const char* op : {"Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal"}) {
    hold_to_law([&](LawGraph& law, ValueId x) {
      const ValueId condition = law.node(op, {x, law.weight({5, 1, 1})});
      const ValueId both = law.node("Or", {condition, law.node("Not", {condition})});
      const ValueId chosen = law.node("And", {law.node("Xor", {both, condition}), both});
      return law.node("Where", {chosen, x, law.pointwise(x, 5)});
    });
  }
}

TEST(SlotLaw, HoldsForPReluWithASlopePerChannelOrForAll) {
  for (const Shape& shape : {Shape{5, 1, 1}, Shape{1}, Shape{1, 5, 1, 1}})
    hold_to_law([&](LawGraph& law, ValueId x) {
      return law.node("PRelu", {x, law.weight(shape)});
    });
}

TEST(SlotLaw, BroadcastOverChannelsPinsTheOneThatRepeats) {
  // One channel added to five: the five stay free, the one is fixed.
  LawGraph law(1);
  const ValueId x = law.input({1, 3, 2, 2});
  const ValueId one = law.pointwise(x, 1), five = law.pointwise(x, 5);
  law.graph.set_outputs({law.pointwise(law.node("Add", {one, five}), 2)});
  const ChannelSlots slots = ChannelSlots::analyze(law.graph);
  EXPECT_TRUE(slots.pinned(slots.group_of({one, 1}, 0)));
  EXPECT_FALSE(slots.pinned(slots.group_of({five, 1}, 0)));
}

// -- Reductions and distributions ------------------------------------------------

TEST(SlotLaw, HoldsForReductionsOfSpace) {
  for (const char* op : {"ReduceL1", "ReduceL2", "ReduceLogSumExp", "ReduceMax", "ReduceMean",
                         "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare"}) {
    for (const int64_t keep : {0, 1}) {
      SCOPED_TRACE(op);
      hold_to_law([&](LawGraph& law, ValueId x) {
        return law.node(op, {x, integers(law, {-1})}, {{"keepdims", keep}});
      });
      if (std::string(op) == "ReduceSum") continue;
      hold_to_law(
          [&](LawGraph& law, ValueId x) {
            return law.node(op, {x}, {{"keepdims", keep}, {"axes", Integers{2}}});
          },
          11);
    }
  }
}

TEST(SlotLaw, ReductionOfChannelsPinsThem) {
  for (const char* op : {"ReduceMean", "ReduceSum", "ReduceMax"}) {
    EXPECT_TRUE(pins_channels([&](LawGraph& law, ValueId x) {
      return law.node(op, {x, integers(law, {1})});
    }));
    EXPECT_TRUE(pins_channels([&](LawGraph& law, ValueId x) { return law.node(op, {x}); }));
  }
  EXPECT_TRUE(pins_channels([](LawGraph& law, ValueId x) {
    return law.node("ArgMax", {x}, {{"axis", int64_t{1}}});
  }));
}

TEST(SlotLaw, HoldsForSoftmaxOverSpaceAndPinsOverChannels) {
  for (const char* op : {"Softmax", "LogSoftmax", "Hardmax"}) {
    const auto along = [op](int64_t axis) {
      return [op, axis](LawGraph& law, ValueId x) {
        return law.node("Mul", {x, law.node(op, {x}, {{"axis", axis}})});
      };
    };
    hold_to_law(along(3));
    hold_to_law(along(2), 11);
    EXPECT_TRUE(pins_channels(along(1)));
    EXPECT_TRUE(pins_channels(along(1), 11));
  }
}

TEST(SlotLaw, HoldsForRunningSumsOverSpaceAndPinsOverChannels) {
  const auto along = [](int64_t axis) {
    return [axis](LawGraph& law, ValueId x) {
      return law.node("CumSum", {x, law.graph.add_constant("a", Tensor::scalar(axis))});
    };
  };
  hold_to_law(along(3));
  EXPECT_TRUE(pins_channels(along(1)));
}

TEST(SlotLaw, ClassReductionLeavesTheKeptClassesToCompete) {
  LawGraph law(3);
  const ValueId x = law.input({2, 4});
  const ValueId logits = law.node("Gemm", {x, law.weight({4, 6}), law.weight({6})});
  const ValueId y = law.node("Softmax", {logits}, {{"axis", int64_t{1}}});
  const ValueId best = law.node("ArgMax", {y}, {{"axis", int64_t{1}}});
  law.graph.set_outputs({y, best});
  const ChannelSlots slots = ChannelSlots::analyze(law.graph, {{y, 1}});
  const std::vector<Tensor> inputs = {law.normal({2, 4})};
  const std::vector<Tensor> before = execute(law.graph, inputs);
  const Integers keep = {1, 2, 5};
  std::vector<uint32_t> doomed;
  for (int64_t i : {0, 3, 4}) doomed.push_back(slots.group_of({y, 1}, i));
  remove_slots(law.graph, slots, [&](uint32_t g) { return std::ranges::count(doomed, g) > 0; });
  const std::vector<Tensor> after = execute(law.graph, inputs);
  const Tensor kept = gather(before[0], 1, keep);
  ASSERT_EQ(after[0].shape(), kept.shape());
  for (size_t row = 0; row < 2; ++row) {
    const std::span<const float> old_row = kept.data<float>().subspan(row * 3, 3);
    const std::span<const float> new_row = after[0].data<float>().subspan(row * 3, 3);
    const float sum = old_row[0] + old_row[1] + old_row[2];
    for (size_t i = 0; i < 3; ++i) EXPECT_NEAR(new_row[i], old_row[i] / sum, 1e-6);
    EXPECT_EQ(after[1].data<int64_t>()[row], std::ranges::max_element(old_row) - old_row.begin());
  }
}

// -- Quantization ----------------------------------------------------------------

/// A scale for each of `count` channels, or one where it is 0, with its zero point.
std::pair<ValueId, ValueId> int8_parameters(LawGraph& law, int64_t count) {
  if (count == 0) {
    return {law.graph.add_constant("s", Tensor::scalar(0.05f)),
            law.graph.add_constant("z", Tensor::scalar(int8_t{0}))};
  }
  Tensor scales = law.normal({count});
  for (float& s : scales.mutable_data<float>()) s = 0.02f + 0.01f * std::abs(s);
  return {law.graph.add_constant("s", std::move(scales)),
          law.graph.add_constant("z", Tensor(DType::kI8, {count}))};
}

ValueId int8_weight(LawGraph& law, Shape shape) {
  Tensor values = law.normal(std::move(shape));
  for (float& x : values.mutable_data<float>()) x *= 50;
  return law.graph.add_constant("q", cast(values, DType::kI8));
}

ValueId quantized(LawGraph& law, ValueId x, int64_t channels = 0) {
  const auto [scale, zero] = int8_parameters(law, channels);
  return law.node("QuantizeLinear", {x, scale, zero}, {{"axis", int64_t{1}}});
}

ValueId dequantized(LawGraph& law, ValueId x, int64_t channels = 0) {
  const auto [scale, zero] = int8_parameters(law, channels);
  return law.node("DequantizeLinear", {x, scale, zero}, {{"axis", int64_t{1}}});
}

TEST(SlotLaw, HoldsForQuantizationPerTensorAndPerChannel) {
  for (const int64_t channels : {0, 5}) {
    hold_to_law([&](LawGraph& law, ValueId x) {
      return dequantized(law, quantized(law, x, channels), channels);
    });
  }
}

TEST(SlotLaw, HoldsForAConvOfDequantizedWeights) {
  hold_to_law([](LawGraph& law, ValueId x) {
    const auto [scale, zero] = int8_parameters(law, 6);
    const ValueId w = law.node("DequantizeLinear", {int8_weight(law, {6, 5, 1, 1}), scale, zero},
                               {{"axis", int64_t{0}}});
    return law.node("Conv", {dequantized(law, quantized(law, x)), w, law.weight({6})});
  });
}

TEST(SlotLaw, BlocksOfQuantizedWeightsGoAsAWhole) {
  LawGraph law(1, 21);
  const ValueId x = law.input({2, 3});
  const ValueId hidden = law.node("Relu", {law.node("MatMul", {x, law.weight({3, 8})})});
  const ValueId scale = law.graph.add_constant("s", law.normal({2, 5}));
  const ValueId w = law.node("DequantizeLinear", {int8_weight(law, {8, 5}), scale},
                             {{"axis", int64_t{0}}, {"block_size", int64_t{4}}});
  law.graph.set_outputs({law.node("MatMul", {hidden, w})});
  const ChannelSlots slots = ChannelSlots::analyze(law.graph);
  EXPECT_EQ(slots.group_of({hidden, 1}, 0), slots.group_of({hidden, 1}, 3));
  EXPECT_NE(slots.group_of({hidden, 1}, 3), slots.group_of({hidden, 1}, 4));
  const LawResult result = check_slot_law(law);
  EXPECT_EQ(result.free_groups, 2);
  EXPECT_EQ(result.effective, 2);
}

/// Operands of QLinearConv or QLinearMatMul for `w` with a scale for each of `outputs`.
std::vector<ValueId> qlinear_operands(LawGraph& law, ValueId x, ValueId w, int64_t outputs) {
  const auto [x_scale, x_zero] = int8_parameters(law, 0);
  const auto [w_scale, w_zero] = int8_parameters(law, outputs);
  const ValueId y_scale = law.graph.add_constant("s", Tensor::scalar(0.2f));
  return {x, x_scale, x_zero, w, w_scale, w_zero, y_scale, x_zero};
}

TEST(SlotLaw, HoldsForQLinearConvPerChannelGroupedAndDepthwise) {
  for (const int64_t group : {1, 2, 6}) {
    hold_to_law([&](LawGraph& law, ValueId x) {
      const ValueId q = quantized(law, law.pointwise(x, 6));
      const ValueId w = int8_weight(law, {6, 6 / group, 1, 1});
      return dequantized(
          law, law.node("QLinearConv", qlinear_operands(law, q, w, 6), {{"group", group}}));
    });
  }
}

TEST(SlotLaw, HoldsForIntegerConvAndItsRescaling) {
  hold_to_law([](LawGraph& law, ValueId x) {
    const ValueId sums =
        law.node("ConvInteger", {quantized(law, x), int8_weight(law, {6, 5, 1, 1})});
    const ValueId real = law.node("Cast", {sums}, {{"to", int64_t{1}}});
    return law.node("Mul", {real, law.weight({6, 1, 1})});
  });
}

/// Puts `middle` between two matrix products of [3, C] and holds the graph to the law.
template <typename Middle>
void hold_matrices_to_law(Middle&& middle) {
  for (uint32_t seed = 0; seed < kSeeds; ++seed) {
    LawGraph law(seed, kNewest);
    const ValueId stem = law.node("MatMul", {law.input({3, 4}), law.weight({4, 5})});
    law.graph.set_outputs({law.node("MatMul", {middle(law, stem), law.weight({6, 2})})});
    const LawResult result = check_slot_law(law);
    EXPECT_GT(result.free_groups, 0);
    EXPECT_GT(result.effective, 0);
  }
}

TEST(SlotLaw, HoldsForProductsOfQuantizedMatrices) {
  hold_matrices_to_law([](LawGraph& law, ValueId x) {
    const std::vector<ValueId> operands =
        qlinear_operands(law, quantized(law, x), int8_weight(law, {5, 6}), 6);
    return dequantized(law, law.node("QLinearMatMul", operands));
  });
  hold_matrices_to_law([](LawGraph& law, ValueId x) {
    const auto [scale, zero] = int8_parameters(law, 6);
    const ValueId sums =
        law.node("MatMulInteger", {quantized(law, x), int8_weight(law, {5, 6}), kNoValue, zero});
    return law.node("Mul", {law.node("Cast", {sums}, {{"to", int64_t{1}}}), scale});
  });
  for (const int64_t transposed : {0, 1}) {
    hold_matrices_to_law([&](LawGraph& law, ValueId x) {
      std::vector<ValueId> operands = qlinear_operands(
          law, quantized(law, x), int8_weight(law, transposed ? Shape{6, 5} : Shape{5, 6}), 6);
      operands.resize(6);
      operands.push_back(
          law.graph.add_constant("c", Tensor({6}, std::vector<int32_t>{9, -80, 70, 60, -50, 400})));
      return contrib(law, "QGemm", operands, {{"transB", transposed}});
    });
  }
}

TEST(SlotLaw, HoldsForArithmeticOnQuantizedTensors) {
  const auto operands = [](LawGraph& law, ValueId a, ValueId b) {
    const auto [scale, zero] = int8_parameters(law, 0);
    return std::vector<ValueId>{a, scale, zero, b, scale, zero, scale, zero};
  };
  for (const char* op : {"QLinearAdd", "QLinearMul"}) {
    hold_to_law([&](LawGraph& law, ValueId x) {
      const ValueId other = quantized(law, law.pointwise(x, 5));
      return dequantized(law, contrib(law, op, operands(law, quantized(law, x), other)));
    });
  }
  for (const char* op : {"QLinearLeakyRelu", "QLinearSigmoid", "QLinearGlobalAveragePool"}) {
    hold_to_law([&](LawGraph& law, ValueId x) {
      std::vector<ValueId> all = operands(law, quantized(law, x), x);
      all.erase(all.begin() + 3, all.begin() + 6);
      return dequantized(law, contrib(law, op, all));
    });
  }
  hold_to_law([&](LawGraph& law, ValueId x) {
    const auto [scale, zero] = int8_parameters(law, 0);
    const ValueId a = quantized(law, x), b = quantized(law, law.pointwise(x, 3));
    return dequantized(law,
                       contrib(law, "QLinearConcat", {scale, zero, a, scale, zero, b, scale, zero},
                               {{"axis", int64_t{1}}}));
  });
}

// -- Chains ----------------------------------------------------------------------

/// One random layer of element by element work on [N, C, H, W].
ValueId random_layer(LawGraph& law, ValueId x) {
  const int64_t channels = law.channels(x);
  constexpr const char* kUnary[] = {"Relu", "Sigmoid", "Tanh", "HardSwish", "Abs", "Softplus"};
  constexpr const char* kBinary[] = {"Add", "Sub", "Mul", "Max", "Min"};
  const char* binary = kBinary[law.pick(0, 4)];
  switch (law.pick(0, 5)) {
    case 0:
      return law.node(binary, {x, law.pointwise(x, channels)});
    case 1:
      return law.node(binary, {law.weight({channels, 1, 1}), x});
    case 2:
      return law.node(binary, {x, law.weight(law.pick(0, 1) ? Shape{} : Shape{1, channels, 1, 1})});
    case 3:
      return law.node(binary, {x, law.node("ReduceMax", {x, integers(law, {2, 3})})});
    case 4:
      return law.pointwise(law.node(kUnary[law.pick(0, 5)], {x}), law.pick(3, 6));
    default:
      return law.node(kUnary[law.pick(0, 5)], {x});
  }
}

TEST(SlotLaw, HoldsForRandomChainsOfElementwiseOperators) {
  int groups = 0, effective = 0;
  for (uint32_t seed = 0; seed < 60; ++seed) {
    LawGraph law(seed, kNewest);
    ValueId x = law.pointwise(law.batch_input({1, 3, 3, 2}), law.pick(3, 6));
    for (int64_t depth = law.pick(2, 7); depth > 0; --depth) x = random_layer(law, x);
    law.graph.set_outputs({law.pointwise(x, 2)});
    const LawResult result = check_slot_law(law);
    groups += result.free_groups;
    effective += result.effective;
  }
  EXPECT_GT(groups, 200);
  EXPECT_GT(effective, groups / 2);
}

}  // namespace
}  // namespace pare
