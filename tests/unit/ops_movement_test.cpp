// Operators that move data: values worked out by hand, agreement with the obvious loop, refusals.
// tests/conformance holds them to ONNX's own test cases.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "ops/factor_axes.h"
#include "ops/movement.h"
#include "unit/one_node.h"

namespace pare {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Integers = std::vector<int64_t>;

/// The message of the Error(kInput) that building or running `op` throws.
template <typename Body>
std::string refusal(Body&& body) {
  try {
    body();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInput) << error.what();
    return error.what();
  }
  return "accepted";
}

// -- Copies
// ------------------------------------------------------------------------------------------

/// Element by element, what transposed() does by tiles and runs.
Tensor naive_transpose(const Tensor& x, const std::vector<size_t>& order) {
  Shape shape;
  for (size_t axis : order) shape.push_back(x.shape()[axis]);
  std::vector<float> y;
  const std::vector<int64_t> strides = row_strides(x.shape());
  for (int64_t i = 0; i < x.size(); ++i) {
    int64_t rest = i, source = 0;
    for (size_t a = shape.size(); a-- > 0;) {
      source += rest % shape[a] * strides[order[a]];
      rest /= shape[a];
    }
    y.push_back(x.data<float>()[static_cast<size_t>(source)]);
  }
  return Tensor(shape, y);
}

TEST(Transpose, AgreesWithTheObviousLoopForEveryOrderAndElementSize) {
  std::vector<size_t> order = {0, 1, 2, 3};
  const Tensor x = counting({2, 35, 1, 41});
  do {
    const Tensor expected = naive_transpose(x, order);
    for (const DType dtype : {DType::kF32, DType::kF16, DType::kF64}) {
      const Tensor moved = transposed(cast(x, dtype), order);
      EXPECT_TRUE(identical(moved, cast(expected, dtype))) << to_string(moved.type());
    }
  } while (std::ranges::next_permutation(order).found);
}

TEST(Transpose, MovesStrings) {
  const Tensor x = Tensor::of_strings({2, 2}, {"a", "b", "c", "d"});
  EXPECT_THAT(OneNode("Transpose", x).run()[0].strings(), ElementsAre("a", "c", "b", "d"));
}

TEST(Transpose, RefusesAPermThatOrdersOtherAxes) {
  const auto build = [] {
    OneNode("Transpose", counting({2, 3}), {}, {{"perm", Integers{0, 1, 2}}});
  };
  EXPECT_THAT(refusal(build), HasSubstr("perm [0,1,2] does not order 2 axes"));
}

TEST(Concat, RefusesOperandsThatDifferBesideTheAxis) {
  const auto build = [] {
    OneNode("Concat", counting({2, 3}), {counting({3, 3})}, {{"axis", int64_t{1}}});
  };
  EXPECT_THAT(refusal(build), HasSubstr("input 1 of [3,3] does not fit input 0 of [2,3]"));
}

TEST(Split, LastPartIsSmallerFromOpset18On) {
  const OneNode split("Split", counting({5}), {}, {{"num_outputs", int64_t{2}}}, 18, 2);
  EXPECT_THAT(floats(split.run()[1]), ElementsAre(3, 4));
  const auto older = [] { OneNode("Split", counting({5}), {}, {}, 13, 2); };
  EXPECT_THAT(refusal(older), HasSubstr("an extent of 5 cannot be split into 2 equal parts"));
}

// -- Slice
// -------------------------------------------------------------------------------------------

std::vector<float> sliced(int64_t start, int64_t end, int64_t step) {
  return floats(OneNode("Slice", counting({6}),
                        {list_of(Integers{start}), list_of(Integers{end}), list_of(Integers{0}),
                         list_of(Integers{step})})
                    .run()[0]);
}

TEST(Slice, ClampsLikePython) {
  EXPECT_THAT(sliced(1, 4, 1), ElementsAre(1, 2, 3));
  EXPECT_THAT(sliced(-2, INT64_MAX, 1), ElementsAre(4, 5));
  EXPECT_THAT(sliced(INT64_MIN, 3, 2), ElementsAre(0, 2));
  EXPECT_THAT(sliced(4, INT64_MIN, -2), ElementsAre(4, 2, 0));
  EXPECT_THAT(sliced(INT64_MAX, 3, -1), ElementsAre(5, 4));
  EXPECT_THAT(sliced(2, 2, 1), ElementsAre());
  EXPECT_THAT(sliced(0, 6, INT64_MAX), ElementsAre(0));
  EXPECT_THAT(sliced(5, -7, INT64_MIN), ElementsAre(5));
}

TEST(Slice, TakesNothingFromAnEmptyAxis) {
  const OneNode slice(
      "Slice", counting({0}),
      {list_of(Integers{0}), list_of(Integers{-9}), list_of(Integers{0}), list_of(Integers{-1})});
  EXPECT_EQ(slice.run()[0].shape(), Shape{0});
}

TEST(Slice, ExtentIsOpenWhereABoundIsComputed) {
  Graph graph(onnx_ops());
  graph.set_opset("", 13);
  const ValueId x = graph.add_input("x", {DType::kF32, {4, 6}});
  const ValueId end = graph.add_input("end", {DType::kI64, {1}});
  const ValueId zero = graph.add_constant("zero", list_of(Integers{0}));
  const ValueId axis = graph.add_constant("axis", list_of(Integers{1}));
  const ValueId y = graph.add_node("Slice", {x, zero, end, axis});
  EXPECT_EQ(graph.type(y).shape, (Shape{4, -1}));
}

TEST(Slice, RefusesAStepOfZero) {
  EXPECT_THAT(refusal([] { sliced(0, 3, 0); }), HasSubstr("a step of 0 goes nowhere"));
}

// -- Gather and scatter
// ------------------------------------------------------------------------------

TEST(Gather, CountsNegativeIndicesFromTheBack) {
  const Tensor indices({1, 2}, Integers{-1, 0});
  const OneNode gather("Gather", counting({3, 2}), {indices});
  const Tensor y = gather.run()[0];
  EXPECT_EQ(y.shape(), (Shape{1, 2, 2}));
  EXPECT_THAT(floats(y), ElementsAre(4, 5, 0, 1));
}

TEST(Gather, RefusesAnIndexOutside) {
  const OneNode gather("Gather", counting({3}), {list_of(Integers{3})});
  EXPECT_THAT(refusal([&] { gather.run(); }), HasSubstr("index 3 is outside an extent of 3"));
}

TEST(GatherND, RefusesMoreCoordinatesThanAxes) {
  const auto build = [] { OneNode("GatherND", counting({3}), {list_of(Integers{0, 1})}); };
  EXPECT_THAT(refusal(build), HasSubstr("do not end in at most 1 coordinates"));
}

TEST(ScatterElements, IntegersWrapAround) {
  const OneNode scatter("ScatterElements", list_of(Integers{INT64_MAX, 1}),
                        {list_of(Integers{0, -1}), list_of(Integers{1, 1})},
                        {{"reduction", std::string("add")}}, 18);
  const Tensor y = scatter.run()[0];
  EXPECT_THAT(y.data<int64_t>(), ElementsAre(INT64_MIN, 2));
}

TEST(ScatterND, RefusesUpdatesOfAnotherShape) {
  const Tensor indices({1, 1}, Integers{0});
  const auto build = [&] { OneNode("ScatterND", counting({3, 2}), {indices, counting({2})}); };
  EXPECT_THAT(refusal(build), HasSubstr("updates are [2], the indices ask for [1,2]"));
}

// -- Pad and resize
// ----------------------------------------------------------------------------------

std::vector<float> padded(const std::string& mode, int64_t before, int64_t after) {
  return floats(
      OneNode("Pad", counting({3}), {list_of(Integers{before, after})}, {{"mode", mode}}, 19)
          .run()[0]);
}

TEST(Pad, FillsInEveryMode) {
  EXPECT_THAT(padded("constant", 1, 2), ElementsAre(0, 0, 1, 2, 0, 0));
  EXPECT_THAT(padded("edge", 1, 2), ElementsAre(0, 0, 1, 2, 2, 2));
  EXPECT_THAT(padded("reflect", 5, 1), ElementsAre(1, 0, 1, 2, 1, 0, 1, 2, 1));
  EXPECT_THAT(padded("wrap", 4, 1), ElementsAre(2, 0, 1, 2, 0, 1, 2, 0));
  EXPECT_THAT(padded("constant", -1, -1), ElementsAre(1));
}

TEST(Pad, RefusesToCropMoreThanThereIs) {
  EXPECT_THAT(refusal([] { padded("constant", -2, -2); }),
              HasSubstr("cannot be padded by -2 and -2"));
  EXPECT_THAT(refusal([] { padded("constant", 0, int64_t{1} << 60); }),
              HasSubstr("cannot be padded"));
}

TEST(Resize, OldNearestTakesTheNextElementWhereItShrinks) {
  const Tensor scales = list_of(std::vector<float>{0.6f});
  EXPECT_THAT(floats(OneNode("Resize", counting({4}), {scales}, {}, 10).run()[0]),
              ElementsAre(0, 2));
  const Tensor doubled = list_of(std::vector<float>{2.0f});
  EXPECT_THAT(floats(OneNode("Upsample", counting({2}), {doubled}, {}, 9).run()[0]),
              ElementsAre(0, 0, 1, 1));
}

TEST(Resize, LinearOnHalfPixels) {
  const OneNode resize("Resize", counting({2}), {Tensor(), list_of(std::vector<float>{2})},
                       {{"mode", std::string("linear")}}, 13);
  EXPECT_THAT(floats(resize.run()[0]), ElementsAre(0, 0.25f, 0.75f, 1));
}

TEST(Resize, AnInfinityStaysWhereItIs) {
  const Tensor x = list_of(std::vector<float>{0, INFINITY, 1});
  const OneNode resize("Resize", x, {Tensor(), Tensor(), list_of(Integers{5})},
                       {{"mode", std::string("linear")},
                        {"coordinate_transformation_mode", std::string("align_corners")}},
                       13);
  EXPECT_THAT(floats(resize.run()[0]), ElementsAre(0, INFINITY, INFINITY, INFINITY, 1));
}

TEST(Resize, RefusesScalesThatAreNotPositive) {
  for (const float scale : {0.0f, -1.0f, NAN, INFINITY}) {
    const auto build = [&] {
      OneNode("Resize", counting({4}), {Tensor(), list_of(std::vector<float>{scale})});
    };
    EXPECT_NE(refusal(build), "accepted");
  }
}

// -- Selection
// ---------------------------------------------------------------------------------------

TEST(TopK, EqualElementsComeByIndex) {
  const Tensor x = list_of(std::vector<float>{1, 3, 2, 3, 3});
  const OneNode top("TopK", x, {list_of(Integers{3})}, {}, 11, 2);
  EXPECT_THAT(floats(top.run()[0]), ElementsAre(3, 3, 3));
  const Tensor indices = top.run()[1];
  EXPECT_THAT(indices.data<int64_t>(), ElementsAre(1, 3, 4));
}

TEST(TopK, RefusesMoreThanThereAre) {
  const auto build = [] { OneNode("TopK", counting({3}), {list_of(Integers{4})}, {}, 11, 2); };
  EXPECT_THAT(refusal(build), HasSubstr("k [4] does not select from an extent of 3"));
}

TEST(NonMaxSuppression, KeepsTheBestOfBoxesThatOverlap) {
  const Tensor boxes({1, 3, 4}, std::vector<float>{0, 0, 1, 1, 0, 0.1f, 1, 1.1f, 0, 10, 1, 11});
  const Tensor scores({1, 1, 3}, std::vector<float>{0.8f, 0.9f, 0.3f});
  const OneNode nms("NonMaxSuppression", boxes,
                    {scores, list_of(Integers{10}), list_of(std::vector<float>{0.5f}),
                     list_of(std::vector<float>{0.1f})});
  const Tensor selected = nms.run()[0];
  EXPECT_THAT(selected.data<int64_t>(), ElementsAre(0, 0, 1, 0, 0, 2));
}

TEST(OneHot, LeavesAnIndexOutsideAllOff) {
  const OneNode hot("OneHot", list_of(Integers{-1, 3}),
                    {Tensor::scalar(int64_t{3}), list_of(std::vector<float>{0, 5})});
  EXPECT_THAT(floats(hot.run()[0]), ElementsAre(0, 0, 5, 0, 0, 0));
}

// -- Reshape
// -----------------------------------------------------------------------------------------

Shape reshaped(Shape in, const Integers& target, int64_t allow_zero = 0) {
  const OneNode reshape("Reshape", counting(std::move(in)), {list_of(target)},
                        {{"allowzero", allow_zero}});
  EXPECT_EQ(reshape.run()[0].shape(), reshape.type().shape);
  return reshape.type().shape;
}

TEST(Reshape, FillsInZeroAndMinusOne) {
  EXPECT_EQ(reshaped({2, 3, 4}, {0, -1}), (Shape{2, 12}));
  EXPECT_EQ(reshaped({2, 3, 4}, {-1, 0, 2}), (Shape{4, 3, 2}));
  EXPECT_EQ(reshaped({1}, {}), Shape{});
  EXPECT_EQ(reshaped({3, 0}, {0, 5}, 1), (Shape{0, 5}));
}

TEST(Reshape, RefusesAnotherElementCount) {
  EXPECT_THAT(refusal([] { reshaped({2, 3}, {4, -1}); }), HasSubstr("cannot reshape [2,3]"));
  EXPECT_THAT(refusal([] { reshaped({2, 3}, {7}); }), HasSubstr("another number of elements"));
  EXPECT_THAT(refusal([] { reshaped({2, 3}, {-1, -1}); }), HasSubstr("more than one open extent"));
  EXPECT_THAT(refusal([] { reshaped({2, 3}, {2, 3, 0}); }), HasSubstr("cannot reshape"));
  EXPECT_THAT(refusal([] { reshaped({0, 3}, {0, -1, 0}, 1); }), HasSubstr("cannot reshape"));
}

TEST(FactorAxes, FindsTheSmallestGroups) {
  const std::vector<AxisGroup> groups = factor_axes({8, 6, 1, 4, 4}, {8, 2, 3, 16});
  ASSERT_EQ(groups.size(), 3u);
  EXPECT_THAT(groups[0].in, ElementsAre(0));
  EXPECT_THAT(groups[0].out, ElementsAre(0));
  EXPECT_THAT(groups[1].in, ElementsAre(1));
  EXPECT_THAT(groups[1].out, ElementsAre(1, 2));
  EXPECT_THAT(groups[2].in, ElementsAre(3, 4));
  EXPECT_THAT(groups[2].out, ElementsAre(3));
}

TEST(FactorAxes, LeavesScalarsAndOnesAlone) {
  EXPECT_TRUE(factor_axes({}, {1, 1}).empty());
  EXPECT_TRUE(factor_axes({1}, {}).empty());
}

}  // namespace
}  // namespace pare
