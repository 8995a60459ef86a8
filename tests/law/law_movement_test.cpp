// The law of removal for the operators that move data, each by itself between two convolutions.

#include <gtest/gtest.h>

#include "law/slot_law.h"

namespace pare {
namespace {

using Integers = std::vector<int64_t>;

constexpr uint32_t kSeeds = 6;

ValueId integers(LawGraph& law, const Integers& values) {
  return law.graph.add_constant("i", Tensor({std::ssize(values)}, values));
}

ValueId scalar(LawGraph& law, int64_t value) {
  return law.graph.add_constant("i", Tensor::scalar(value));
}

/// Puts `middle` between two convolutions of [N, C, 4, 6] and holds the graph to the law. Returns
/// the groups tried with each seed; at least one must matter.
template <typename Middle>
int hold_to_law(int64_t channels, Middle&& middle, int64_t opset = 17) {
  int groups = 0;
  for (uint32_t seed = 0; seed < kSeeds; ++seed) {
    LawGraph law(seed, opset);
    const ValueId stem = law.pointwise(law.batch_input({1, 3, 4, 6}), channels);
    law.graph.set_outputs({law.pointwise(law.node("Relu", {middle(law, stem)}), 2)});
    const LawResult result = check_slot_law(law);
    EXPECT_GT(result.free_groups, 0);
    EXPECT_GT(result.effective, 0);
    groups = result.free_groups;
  }
  return groups;
}

/// Whether index `index` of axis 1 of `value` may go.
bool is_free(const LawGraph& law, ValueId value, int64_t index) {
  const ChannelSlots slots = ChannelSlots::analyze(law.graph);
  return !slots.pinned(slots.group_of({value, 1}, index));
}

// -- Concat, Split, Slice
// ------------------------------------------------------------------------------

TEST(SlotLaw, HoldsForConcatOfOneTensorTwice) {
  hold_to_law(4, [](LawGraph& law, ValueId x) {
    return law.node("Concat", {x, law.pointwise(x, 3), x}, {{"axis", int64_t{1}}});
  });
}

TEST(SlotLaw, HoldsForSplitIntoUnequalParts) {
  for (const int64_t opset : {11, 13, 18}) {
    hold_to_law(
        7,
        [&](LawGraph& law, ValueId x) {
          const Integers parts = {3, 4};
          const ValueId first =
              opset < 13 ? law.node("Split", {x}, {{"axis", int64_t{1}}, {"split", parts}}, 2)
                         : law.node("Split", {x, integers(law, parts)}, {{"axis", int64_t{1}}}, 2);
          const NodeId split = *law.graph.value(first).producer;
          const ValueId second = law.graph.node(split).outputs[1];
          return law.node("Add", {law.pointwise(first, 5), law.pointwise(second, 5)});
        },
        opset);
  }
}

TEST(SlotLaw, HoldsForEqualSplitThatBecomesUnequal) {
  for (const int64_t opset : {11, 13, 18}) {
    hold_to_law(
        6,
        [&](LawGraph& law, ValueId x) {
          Attributes attributes = {{"axis", int64_t{1}}};
          if (opset >= 18) attributes["num_outputs"] = int64_t{2};
          const ValueId first = law.node("Split", {x}, attributes, 2);
          const NodeId split = *law.graph.value(first).producer;
          const ValueId second = law.graph.node(split).outputs[1];
          return law.node("Concat", {second, law.pointwise(first, 3)}, {{"axis", int64_t{1}}});
        },
        opset);
  }
}

/// A Slice of channels [start, end) in the form of `opset`.
ValueId slice(LawGraph& law, ValueId x, int64_t start, int64_t end, int64_t step = 1) {
  if (law.graph.opset() < 10) {
    return law.node("Slice", {x},
                    {{"starts", Integers{start}}, {"ends", Integers{end}}, {"axes", Integers{1}}});
  }
  return law.node("Slice", {x, integers(law, {start}), integers(law, {end}), integers(law, {1}),
                            integers(law, {step})});
}

TEST(SlotLaw, HoldsForSlicesThatOverlap) {
  for (const int64_t opset : {9, 13}) {
    hold_to_law(
        8,
        [](LawGraph& law, ValueId x) {
          return law.node("Concat", {slice(law, x, 1, 5), slice(law, x, -5, -1)},
                          {{"axis", int64_t{1}}});
        },
        opset);
  }
}

TEST(SlotLaw, HoldsForSlicesOpenAtTheEndAndBackwards) {
  hold_to_law(7, [](LawGraph& law, ValueId x) {
    return law.node(
        "Concat",
        {slice(law, x, 2, INT64_MAX), slice(law, x, -1, INT64_MIN, -1), slice(law, x, 4, 1, -1)},
        {{"axis", int64_t{1}}});
  });
}

TEST(SlotLaw, SliceLetsWhatItDropsGo) {
  LawGraph law(1);
  const ValueId stem = law.pointwise(law.input({1, 3, 2, 2}), 4);
  law.graph.set_outputs({slice(law, stem, 0, 2)});
  EXPECT_FALSE(is_free(law, stem, 1)) << "an output of the model";
  EXPECT_TRUE(is_free(law, stem, 2)) << "seen by nobody";
}

TEST(SlotLaw, SliceWithStepsPinsTheChannels) {
  LawGraph law(1);
  const ValueId stem = law.pointwise(law.input({1, 3, 2, 2}), 6);
  law.graph.set_outputs({law.pointwise(slice(law, stem, 0, 6, 2), 2)});
  EXPECT_FALSE(is_free(law, stem, 0));
}

// -- Gather and scatter
// --------------------------------------------------------------------------------

TEST(SlotLaw, HoldsForGatherOfChannels) {
  hold_to_law(6, [](LawGraph& law, ValueId x) {
    return law.node("Gather", {x, integers(law, {4, 0, -1, 4, 2})}, {{"axis", int64_t{1}}});
  });
}

TEST(SlotLaw, HoldsForTwoGathersThatShareIndices) {
  hold_to_law(5, [](LawGraph& law, ValueId x) {
    const ValueId shared = integers(law, {3, 1, 0});
    const ValueId other = law.pointwise(x, 4);
    const ValueId a = law.node("Gather", {x, shared}, {{"axis", int64_t{1}}});
    const ValueId b = law.node("Gather", {other, shared}, {{"axis", int64_t{1}}});
    return law.node("Concat", {a, b}, {{"axis", int64_t{1}}});
  });
}

TEST(SlotLaw, HoldsForGatherOfOneChannel) {
  hold_to_law(5, [](LawGraph& law, ValueId x) {
    const ValueId one = law.node("Gather", {x, scalar(law, 3)}, {{"axis", int64_t{1}}});
    const ValueId back = law.node("Unsqueeze", {one, integers(law, {1})});
    return law.node("Concat", {back, law.pointwise(x, 3)}, {{"axis", int64_t{1}}});
  });
}

TEST(SlotLaw, HoldsForRowsOfAnEmbedding) {
  for (uint32_t seed = 0; seed < kSeeds; ++seed) {
    LawGraph law(seed);
    const ValueId rows = law.node("Gather", {law.weight({9, 6}), integers(law, {2, 5, 5, 0})});
    const ValueId x = law.node("MatMul", {law.input({3, 4}), rows});
    law.graph.set_outputs({law.node("MatMul", {law.node("Relu", {x}), law.weight({6, 2})})});
    const LawResult result = check_slot_law(law);
    EXPECT_GT(result.effective, 0);
  }
}

TEST(SlotLaw, HoldsForScatterAcrossSpace) {
  hold_to_law(5, [](LawGraph& law, ValueId x) {
    const ValueId rows = law.node("Transpose", {x}, {{"perm", Integers{2, 0, 3, 1}}});
    const ValueId picked = law.node("Gather", {rows, integers(law, {1, 2})});
    const ValueId where = law.graph.add_constant("where", Tensor({2, 1}, Integers{3, 0}));
    const ValueId y = law.node("ScatterND", {rows, where, picked});
    return law.node("Transpose", {y}, {{"perm", Integers{1, 3, 0, 2}}});
  });
}

// -- Reshape and its kin
// -------------------------------------------------------------------------------

ValueId reshape(LawGraph& law, ValueId x, const Integers& target) {
  return law.node("Reshape", {x, integers(law, target)});
}

ValueId transpose(LawGraph& law, ValueId x, const Integers& perm) {
  return law.node("Transpose", {x}, {{"perm", perm}});
}

TEST(SlotLaw, HoldsForChannelShuffle) {
  for (const Integers& last :
       {Integers{0, 6, 4, 6}, Integers{-1, 6, 4, 6}, Integers{0, -1, 4, 6}}) {
    const int groups = hold_to_law(6, [&](LawGraph& law, ValueId x) {
      const ValueId split = reshape(law, x, {-1, 2, 3, 4, 6});
      return reshape(law, transpose(law, split, {0, 2, 1, 3, 4}), last);
    });
    EXPECT_GE(groups, 3) << "a group for each index inside the halves";
  }
}

TEST(SlotLaw, HoldsForChannelsLastReshapes) {
  const int groups = hold_to_law(5, [](LawGraph& law, ValueId x) {
    const ValueId rows = reshape(law, transpose(law, x, {0, 2, 3, 1}), {0, -1, 5});
    return transpose(law, reshape(law, rows, {0, 4, 6, -1}), {0, 3, 1, 2});
  });
  EXPECT_GE(groups, 5);
}

TEST(SlotLaw, HoldsForAHeadWhoseAnchorsJoinThePlaces) {
  const int groups = hold_to_law(6, [](LawGraph& law, ValueId x) {
    const ValueId boxes = reshape(law, transpose(law, x, {0, 2, 3, 1}), {0, -1, 3});
    return transpose(law, reshape(law, boxes, {0, 4, 6, -1}), {0, 3, 1, 2});
  });
  EXPECT_GE(groups, 3) << "a group a class, of two channels";
}

/// A classifier behind `flat`, which makes [N, features] of [N, 5, 4, 6].
template <typename Flat>
void hold_flat_to_law(Flat&& flat, int64_t opset = 17) {
  for (uint32_t seed = 0; seed < kSeeds; ++seed) {
    LawGraph law(seed, opset);
    const ValueId stem = law.pointwise(law.batch_input({1, 3, 4, 6}), 5);
    const ValueId x = flat(law, law.node("Relu", {stem}));
    law.graph.set_outputs(
        {law.node("Gemm", {x, law.weight({law.channels(x), 2}), law.weight({2})})});
    const LawResult result = check_slot_law(law);
    EXPECT_GE(result.free_groups, 5);
    EXPECT_GT(result.effective, 0);
  }
}

TEST(SlotLaw, HoldsForFlattenBeforeGemm) {
  hold_flat_to_law([](LawGraph& law, ValueId x) { return law.node("Flatten", {x}); });
  hold_flat_to_law([](LawGraph& law, ValueId x) {
    return law.node("Flatten", {transpose(law, x, {0, 2, 3, 1})});
  });
  hold_flat_to_law([](LawGraph& law, ValueId x) { return reshape(law, x, {-1, 120}); });
}

TEST(SlotLaw, HoldsForFlattenByShapeArithmetic) {
  hold_flat_to_law([](LawGraph& law, ValueId x) {  // x.view(x.size(0), -1)
    const ValueId batch = law.node("Gather", {law.node("Shape", {x}), scalar(law, 0)});
    const ValueId row = law.node("Unsqueeze", {batch, integers(law, {0})});
    const ValueId target = law.node("Concat", {row, integers(law, {-1})}, {{"axis", int64_t{0}}});
    return law.node("Reshape", {x, target});
  });
  hold_flat_to_law([](LawGraph& law, ValueId x) {  // Every extent spelled out.
    const ValueId shape = law.node("Shape", {x});
    const ValueId batch = law.node("Slice", {shape, integers(law, {0}), integers(law, {1})});
    const ValueId target =
        law.node("Concat", {batch, integers(law, {120})}, {{"axis", int64_t{0}}});
    return law.node("Reshape", {x, target});
  });
}

TEST(SlotLaw, HoldsForSqueezeAndUnsqueeze) {
  const auto pooled = [](LawGraph& law, ValueId x) { return law.node("GlobalAveragePool", {x}); };
  hold_flat_to_law([&](LawGraph& law, ValueId x) {
    return law.node("Squeeze", {pooled(law, x), integers(law, {2, 3})});
  });
  hold_flat_to_law(
      [&](LawGraph& law, ValueId x) {
        return law.node("Squeeze", {pooled(law, x)}, {{"axes", Integers{2, -1}}});
      },
      11);
}

/// Where the channel count of `x`, halved, comes from shape arithmetic.
ValueId half_channels(LawGraph& law, ValueId x) {
  const ValueId count =
      law.node("Gather", {law.node("Shape", {x}), scalar(law, 1)}, {{"axis", int64_t{0}}});
  return law.node("Unsqueeze", {law.node("Div", {count, scalar(law, 2)}), integers(law, {0})});
}

TEST(SlotLaw, HoldsForShuffleWithComputedTargets) {
  const int groups = hold_to_law(6, [](LawGraph& law, ValueId x) {
    const ValueId shape = law.node("Shape", {x});
    const auto part = [&](int64_t first, int64_t last) {
      return law.node("Slice", {shape, integers(law, {first}), integers(law, {last})});
    };
    const ValueId target =
        law.node("Concat", {part(0, 1), integers(law, {2}), half_channels(law, x), part(2, 4)},
                 {{"axis", int64_t{0}}});
    const ValueId split = law.node("Reshape", {x, target});
    return law.node("Reshape", {transpose(law, split, {0, 2, 1, 3, 4}), shape});
  });
  EXPECT_GE(groups, 3);
}

TEST(SlotLaw, HoldsForSliceWithAComputedBound) {
  hold_to_law(6, [](LawGraph& law, ValueId x) {
    const ValueId half = half_channels(law, x);
    const ValueId axis = integers(law, {1});
    const ValueId low = law.node("Slice", {x, integers(law, {0}), half, axis});
    const ValueId high = law.node("Slice", {x, half, integers(law, {INT64_MAX}), axis});
    return law.node("Concat", {law.pointwise(low, 4), high}, {{"axis", int64_t{1}}});
  });
}

TEST(SlotLaw, ExtentThatBecomesANumberPinsItsAxis) {
  LawGraph law(1);
  const ValueId x = law.pointwise(law.batch_input({1, 3, 4, 6}), 5);
  const ValueId width =
      law.node("Gather", {law.node("Shape", {x}), scalar(law, 1)}, {{"axis", int64_t{0}}});
  const ValueId root = law.node("Sqrt", {law.node("Cast", {width}, {{"to", int64_t{1}}})});
  law.graph.set_outputs({law.pointwise(law.node("Div", {x, root}), 2)});
  EXPECT_FALSE(is_free(law, x, 0)) << "the scale would change with the channels";
}

// -- The rest
// ------------------------------------------------------------------------------------------

TEST(SlotLaw, HoldsForPaddedChannels) {
  for (const int64_t opset : {9, 13, 18}) {
    const int groups = hold_to_law(
        4,
        [&](LawGraph& law, ValueId x) {
          const Integers pads = {0, 2, 0, 0, 0, 1, 0, 0};  // As a shortcut that widens.
          return law.node(
              "Add", {law.pointwise(x, 7), opset < 11 ? law.node("Pad", {x}, {{"pads", pads}})
                                                      : law.node("Pad", {x, integers(law, pads)})});
        },
        opset);
    EXPECT_GE(groups, 7);
  }
}

TEST(SlotLaw, HoldsForCroppedChannels) {
  hold_to_law(6, [](LawGraph& law, ValueId x) {
    return law.node("Pad", {x, integers(law, {0, -1, 0, 0, 0, -2, 0, 1})});
  });
}

TEST(SlotLaw, PaddingWithOnesPinsThePadding) {
  LawGraph law(1);
  const ValueId x = law.pointwise(law.batch_input({1, 3, 4, 6}), 5);
  const ValueId one = law.graph.add_constant("one", Tensor::scalar(1.0f));
  const ValueId y = law.node("Pad", {x, integers(law, {0, 1, 0, 0, 0, 0, 0, 0}), one});
  law.graph.set_outputs({law.pointwise(y, 2)});
  EXPECT_FALSE(is_free(law, y, 0));
  EXPECT_TRUE(is_free(law, y, 1));
  EXPECT_GT(check_slot_law(law).effective, 0);
}

TEST(SlotLaw, HoldsForTileAndExpand) {
  hold_to_law(3, [](LawGraph& law, ValueId x) {
    return law.node("Tile", {x, integers(law, {1, 2, 1, 3})});
  });
  hold_to_law(5, [](LawGraph& law, ValueId x) {
    const ValueId gate = law.node("Expand", {law.weight({1, 1, 1}), integers(law, {5, 1, 6})});
    const ValueId wide = law.node("Expand", {law.weight({5, 1, 1}), integers(law, {1, 5, 4, 1})});
    return law.node("Mul", {law.node("Add", {x, wide}), gate});
  });
}

TEST(SlotLaw, HoldsForDepthToSpaceAndBack) {
  for (const char* mode : {"DCR", "CRD"}) {
    hold_to_law(12, [&](LawGraph& law, ValueId x) {
      const ValueId space =
          law.node("DepthToSpace", {x}, {{"blocksize", int64_t{2}}, {"mode", std::string(mode)}});
      return law.node("SpaceToDepth", {law.node("Relu", {space})}, {{"blocksize", int64_t{2}}});
    });
  }
}

TEST(SlotLaw, HoldsForResizeBySizesAndScales) {
  hold_to_law(5, [](LawGraph& law, ValueId x) {
    const ValueId none = law.graph.add_constant("none", Tensor({0}, std::vector<float>{}));
    const ValueId batch =
        law.node("Slice", {law.node("Shape", {x}), integers(law, {0}), integers(law, {1})});
    const ValueId sizes =
        law.node("Concat", {batch, integers(law, {5, 3, 8})}, {{"axis", int64_t{0}}});
    return law.node("Resize", {x, none, none, sizes}, {{"mode", std::string("linear")}});
  });
  hold_to_law(
      5,
      [](LawGraph& law, ValueId x) {
        const ValueId scales =
            law.graph.add_constant("scales", Tensor({4}, std::vector<float>{1, 1, 2, 1.5f}));
        return law.node("Upsample", {x, scales});
      },
      9);
}

TEST(SlotLaw, HoldsForTopKAlongAnotherAxis) {
  hold_to_law(5, [](LawGraph& law, ValueId x) {
    return law.node("TopK", {x, integers(law, {3})}, {{"axis", int64_t{3}}}, 2);
  });
}

/// Self-attention over the positions of an image, with a merged projection or three.
ValueId attention(LawGraph& law, ValueId x, int64_t heads, bool merged) {
  const int64_t width = law.shape(x)[2], head = width / heads;
  ValueId parts[3];
  if (merged) {
    const ValueId all = reshape(law, law.node("MatMul", {x, law.weight({width, 3 * width})}),
                                {0, -1, 3, heads, head});
    const ValueId first = transpose(law, all, {2, 0, 3, 1, 4});
    for (int64_t i = 0; i < 3; ++i)
      parts[i] = law.node("Gather", {first, scalar(law, i)}, {{"axis", int64_t{0}}});
  } else {
    for (ValueId& part : parts) {
      const ValueId own = law.node(
          "Add", {law.node("MatMul", {x, law.weight({width, width})}), law.weight({width})});
      part = transpose(law, reshape(law, own, {0, -1, heads, head}), {0, 2, 1, 3});
    }
  }
  const ValueId scores = law.node("MatMul", {parts[0], transpose(law, parts[1], {0, 1, 3, 2})});
  const ValueId mixed =
      law.node("MatMul", {law.node("Softmax", {scores}, {{"axis", int64_t{-1}}}), parts[2]});
  return law.node("MatMul", {reshape(law, transpose(law, mixed, {0, 2, 1, 3}), {0, -1, width}),
                             law.weight({width, width})});
}

TEST(SlotLaw, HoldsForAttentionHeads) {
  for (const bool merged : {false, true}) {
    const int groups = hold_to_law(6, [&](LawGraph& law, ValueId x) {
      const ValueId rows = transpose(law, reshape(law, x, {0, 6, -1}), {0, 2, 1});
      const ValueId mixed = attention(law, rows, 2, merged);
      return reshape(law, transpose(law, mixed, {0, 2, 1}), {0, 6, 4, 6});
    });
    EXPECT_GT(groups, 6) << "the channels, and the width of the heads";
  }
}

}  // namespace
}  // namespace pare
