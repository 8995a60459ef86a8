// The law of removal for convolution, pooling, normalization, matrix products and recurrence.

#include <gtest/gtest.h>

#include "law/slot_law.h"

namespace pare {
namespace {

using Integers = std::vector<int64_t>;

constexpr uint32_t kSeeds = 8;

/// Puts `middle` between two weighted ops over an image and holds it to the law, for several
/// seeds. `dims` spatial axes; at least one group must be free and matter.
template <typename Middle>
void hold_to_law(int dims, int64_t channels, Middle&& middle, int64_t opset = 17) {
  for (uint32_t seed = 0; seed < kSeeds; ++seed) {
    LawGraph law(seed, opset);
    Shape shape{2, 3};
    shape.insert(shape.end(), static_cast<size_t>(dims), 6);
    const ValueId stem = law.pointwise(law.input(shape), channels);
    const ValueId end = law.pointwise(law.node("Relu", {middle(law, stem)}), 2);
    law.graph.set_outputs({end});
    const LawResult result = check_slot_law(law);
    EXPECT_GT(result.free_groups, 0);
    EXPECT_GT(result.effective, 0);
  }
}

ValueId conv(LawGraph& law, ValueId x, int64_t channels, int64_t group, Shape kernel) {
  Shape w{channels, law.channels(x) / group};
  w.insert(w.end(), kernel.begin(), kernel.end());
  return law.node("Conv", {x, law.weight(w), law.weight({channels})},
                  {{"group", group}, {"auto_pad", std::string("SAME_UPPER")}});
}

ValueId conv_transpose(LawGraph& law, ValueId x, int64_t per_group, int64_t group) {
  return law.node(
      "ConvTranspose",
      {x, law.weight({law.channels(x), per_group, 3, 2}), law.weight({per_group * group})},
      {{"group", group}, {"strides", Integers{2, 1}}});
}

TEST(SlotLaw, HoldsForConvOfAnyRank) {
  hold_to_law(1, 5, [](LawGraph& law, ValueId x) { return conv(law, x, 4, 1, {3}); });
  hold_to_law(2, 5, [](LawGraph& law, ValueId x) { return conv(law, x, 4, 1, {3, 2}); });
  hold_to_law(3, 5, [](LawGraph& law, ValueId x) { return conv(law, x, 4, 1, {1, 3, 2}); });
}

TEST(SlotLaw, HoldsForGroupedConv) {
  hold_to_law(2, 6, [](LawGraph& law, ValueId x) { return conv(law, x, 8, 2, {3, 3}); });
}

TEST(SlotLaw, HoldsForDepthwiseConvWithAMultiplier) {
  hold_to_law(2, 5, [](LawGraph& law, ValueId x) {
    return conv(law, x, 5 * law.pick(1, 3), 5, {3, 3});
  });
}

TEST(SlotLaw, HoldsForConvTranspose) {
  hold_to_law(2, 5, [](LawGraph& law, ValueId x) { return conv_transpose(law, x, 4, 1); });
}

TEST(SlotLaw, HoldsForGroupedConvTranspose) {
  hold_to_law(2, 6, [](LawGraph& law, ValueId x) { return conv_transpose(law, x, 4, 2); });
}

TEST(SlotLaw, HoldsForDepthwiseConvTranspose) {
  hold_to_law(2, 5,
              [](LawGraph& law, ValueId x) { return conv_transpose(law, x, law.pick(1, 3), 5); });
}

TEST(SlotLaw, HoldsForPooling) {
  for (const char* op : {"MaxPool", "AveragePool", "LpPool"}) {
    hold_to_law(2, 5, [&](LawGraph& law, ValueId x) {
      return law.node(op, {x}, {{"kernel_shape", Integers{3, 2}}, {"strides", Integers{2, 2}}});
    });
  }
}

TEST(SlotLaw, HoldsForGlobalPooling) {
  for (const char* op : {"GlobalMaxPool", "GlobalAveragePool", "GlobalLpPool"})
    hold_to_law(2, 5, [&](LawGraph& law, ValueId x) { return law.node(op, {x}); });
}

TEST(SlotLaw, HoldsForBatchAndInstanceNormalization) {
  hold_to_law(2, 5, [](LawGraph& law, ValueId x) {
    return law.node("BatchNormalization", {x, law.weight({5}), law.weight({5}), law.weight({5}),
                                           law.positive_weight({5})});
  });
  hold_to_law(2, 5, [](LawGraph& law, ValueId x) {
    return law.node("InstanceNormalization", {x, law.weight({5}), law.weight({5})});
  });
}

TEST(SlotLaw, HoldsForGroupNormalizationInBothForms) {
  const auto middle = [](int64_t parameters) {
    return [parameters](LawGraph& law, ValueId x) {
      return law.node("GroupNormalization", {x, law.weight({parameters}), law.weight({parameters})},
                      {{"num_groups", int64_t{3}}});
    };
  };
  hold_to_law(2, 6, middle(3), 18);
  hold_to_law(2, 6, middle(6), 21);
}

TEST(SlotLaw, HoldsForMeanVarianceNormalizationOverSpace) {
  hold_to_law(2, 5, [](LawGraph& law, ValueId x) {
    return law.node("MeanVarianceNormalization", {x}, {{"axes", Integers{2, 3}}});
  });
}

TEST(SlotLaw, NormalizationOverChannelsPinsThem) {
  const auto pinned = [](const char* op, Attributes attributes, size_t parameters) {
    LawGraph law(1, 23);
    const ValueId stem = law.pointwise(law.input({2, 3, 4}), 5);
    std::vector<ValueId> inputs = {stem};
    for (size_t i = 0; i < parameters; ++i) inputs.push_back(law.weight({5, 4}));
    const ValueId y = law.node(op, inputs, std::move(attributes));
    law.graph.set_outputs({law.pointwise(y, 2)});
    EXPECT_EQ(check_slot_law(law).free_groups, 0) << op;
  };
  pinned("LRN", {{"size", int64_t{3}}}, 0);
  pinned("LpNormalization", {{"axis", int64_t{1}}}, 0);
  pinned("MeanVarianceNormalization", {{"axes", Integers{1, 2}}}, 0);
  pinned("LayerNormalization", {{"axis", int64_t{1}}}, 2);
  pinned("RMSNormalization", {{"axis", int64_t{1}}}, 1);
}

TEST(SlotLaw, IndicesOfMaxPoolPinTheChannels) {
  LawGraph law(1);
  const ValueId stem = law.pointwise(law.input({2, 3, 6}), 5);
  const ValueId y = law.node("MaxPool", {stem}, {{"kernel_shape", Integers{2}}}, 2);
  law.graph.set_outputs({law.pointwise(y, 2)});
  EXPECT_EQ(check_slot_law(law).free_groups, 0);
}

TEST(SlotLaw, HoldsForGemmInEveryLayout) {
  for (uint32_t seed = 0; seed < 4 * kSeeds; ++seed) {
    LawGraph law(seed);
    const bool ta = law.pick(0, 1) != 0, tb = law.pick(0, 1) != 0;
    const int64_t hidden = law.pick(3, 6);
    const std::vector<Shape> biases = {{}, {1}, {hidden}, {1, hidden}, {2, hidden}, {2, 1}};
    const ValueId x = law.input(ta ? Shape{4, 2} : Shape{2, 4});
    const ValueId w = law.weight(tb ? Shape{hidden, 4} : Shape{4, hidden});
    const ValueId c = law.weight(biases[static_cast<size_t>(law.pick(0, 5))]);
    const ValueId h = law.node("Gemm", {x, w, c},
                               {{"transA", int64_t{ta}}, {"transB", int64_t{tb}}, {"beta", 0.5f}});
    law.graph.set_outputs({law.node("Gemm", {law.node("Relu", {h}), law.weight({hidden, 3})})});
    const LawResult result = check_slot_law(law);
    EXPECT_EQ(result.free_groups, hidden);
    EXPECT_GT(result.effective, 0);
  }
}

/// Self-attention over x [2, 4, 6] in `heads` heads of 3 by MatMul of batched matrices; weights per
/// head lie in a leading axis.
TEST(SlotLaw, HoldsForAttentionBuiltOfMatMul) {
  for (uint32_t seed = 0; seed < kSeeds; ++seed) {
    LawGraph law(seed);
    const ValueId x = law.input({2, 1, 4, 6});
    const ValueId q = law.node("MatMul", {x, law.weight({5, 6, 3})});
    const ValueId k = law.node("Einsum", {x, law.weight({5, 6, 3})},
                               {{"equation", std::string("bosd,hde->bhes")}});
    const ValueId v = law.node("MatMul", {x, law.weight({5, 6, 4})});
    const ValueId attention = law.node("MatMul", {q, k});
    const ValueId mixed = law.node("MatMul", {attention, v});
    law.graph.set_outputs({law.node("Einsum", {mixed, law.weight({5, 4, 6})},
                                    {{"equation", std::string("bhse,hed->bsd")}})});
    const LawResult result = check_slot_law(law);
    EXPECT_EQ(result.free_groups, 5 + 3 + 4) << "heads, inner extents of QK and of V";
    EXPECT_EQ(result.effective, result.free_groups);
  }
}

TEST(SlotLaw, HoldsForRowsOfLayerAndRmsNormalization) {
  LawGraph law(3, 23);
  const ValueId x = law.input({2, 4, 6});
  const ValueId heads =
      law.node("Einsum", {x, law.weight({5, 6, 3})}, {{"equation", std::string("bsd,hde->bhse")}});
  const ValueId q = law.node("LayerNormalization", {heads, law.weight({3}), law.weight({3})});
  const ValueId r = law.node("RMSNormalization", {q, law.weight({3})});
  law.graph.set_outputs({law.node("Einsum", {r, law.weight({5, 3, 6})},
                                  {{"equation", std::string("bhse,hed->bsd")}})});
  const LawResult result = check_slot_law(law);
  EXPECT_EQ(result.free_groups, 5) << "heads may go, normalized channels may not";
  EXPECT_EQ(result.effective, 5);
}

TEST(SlotLaw, HoldsForTheInputFeaturesOfRecurrentOps) {
  const std::pair<const char*, int64_t> ops[] = {{"LSTM", 4}, {"GRU", 3}, {"RNN", 1}};
  for (const auto& [op, gates] : ops) {
    LawGraph law(7);
    const ValueId x = law.node("MatMul", {law.input({4, 2, 3}), law.weight({3, 5})});
    law.graph.set_outputs({law.node(
        op, {law.node("Relu", {x}), law.weight({1, 4 * gates, 5}), law.weight({1, 4 * gates, 4})},
        {{"hidden_size", int64_t{4}}})});
    const LawResult result = check_slot_law(law);
    EXPECT_EQ(result.free_groups, 5) << op;
    EXPECT_GT(result.effective, 0) << op;
  }
}

/// One random op on an image, keeping its extents.
ValueId random_layer(LawGraph& law, ValueId x) {
  const int64_t c = law.channels(x);
  switch (law.pick(0, 7)) {
    case 0:
      return conv(law, x, law.pick(3, 6), 1, {3, 3});
    case 1:
      return conv(law, x, c * law.pick(1, 2), c, {3, 3});
    case 2:
      return c % 2 == 0 ? conv(law, x, 4, 2, {1, 1}) : law.node("Relu", {x});
    case 3:
      return law.node("BatchNormalization", {x, law.weight({c}), law.weight({c}), law.weight({c}),
                                             law.positive_weight({c})});
    case 4:
      return law.node("Add", {x, conv(law, x, c, 1, {3, 3})});
    case 5:
      return law.node("Mul", {x, law.pointwise(law.node("GlobalAveragePool", {x}), c)});
    case 6:
      return law.node("MaxPool", {x},
                      {{"kernel_shape", Integers{3, 3}}, {"auto_pad", std::string("SAME_LOWER")}});
    default:
      return law.node("InstanceNormalization", {x, law.weight({c}), law.weight({c})});
  }
}

TEST(SlotLaw, HoldsOnRandomChains) {
  int free_groups = 0, effective = 0;
  for (uint32_t seed = 0; seed < 40; ++seed) {
    LawGraph law(seed);
    ValueId x = conv(law, law.input({1, 3, 5, 5}), law.pick(3, 6), 1, {3, 3});
    for (int i = 0; i < 4; ++i) x = random_layer(law, x);
    law.graph.set_outputs({conv(law, x, 2, 1, {3, 3})});
    const LawResult result = check_slot_law(law);
    free_groups += result.free_groups, effective += result.effective;
  }
  EXPECT_GT(free_groups, 200);
  EXPECT_GT(effective, free_groups / 2);
}

}  // namespace
}  // namespace pare
