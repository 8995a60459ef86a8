// Shape arithmetic as exporters write it, and older forms rewritten into newer ones.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "passes/upgrade_opset.h"
#include "unit/one_node.h"

namespace pare {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Integers = std::vector<int64_t>;

/// A graph around one image [N, 5, 4, 6], N bound to 1.
class Arithmetic {
 public:
  Arithmetic() : graph(onnx_ops()) {
    graph.set_opset("", 15);
    x = graph.add_input("x", {DType::kF32, {1, 5, 4, 6}}, {"N", "", "", ""});
  }

  ValueId list(const Integers& values) { return graph.add_constant("i", list_of(values)); }
  ValueId number(int64_t value) { return graph.add_constant("i", Tensor::scalar(value)); }
  ValueId add(std::string_view op, std::vector<ValueId> inputs, Attributes attributes = {}) {
    return graph.add_node(op, std::move(inputs), std::move(attributes));
  }
  /// What propagation knows of a value.
  Integers known(ValueId id) const {
    const TensorRef& tensor = graph.value(id).known;
    EXPECT_TRUE(tensor) << graph.value(id).name;
    return tensor ? to_int64(*tensor) : Integers{};
  }

  Graph graph;
  ValueId x;
};

TEST(ShapeArithmetic, ShapeListsTheAxesAsked) {
  Arithmetic a;
  EXPECT_THAT(a.known(a.add("Shape", {a.x})), ElementsAre(1, 5, 4, 6));
  EXPECT_THAT(a.known(a.add("Shape", {a.x}, {{"start", int64_t{-2}}})), ElementsAre(4, 6));
  EXPECT_THAT(a.known(a.add("Shape", {a.x}, {{"start", int64_t{3}}, {"end", int64_t{1}}})),
              ElementsAre());
  EXPECT_THAT(a.known(a.add("Size", {a.x})), ElementsAre(120));
}

TEST(ShapeArithmetic, BuildsATargetFromParts) {
  Arithmetic a;
  const ValueId shape = a.add("Shape", {a.x});
  const ValueId last = a.add("Gather", {shape, a.number(-1)});
  const ValueId batch = a.add("Slice", {shape, a.list({0}), a.list({-3})});
  const ValueId target =
      a.add("Concat", {batch, a.list({}), a.add("Unsqueeze", {last, a.list({0})}), a.list({-1})},
            {{"axis", int64_t{0}}});
  EXPECT_THAT(a.known(target), ElementsAre(1, 6, -1));
  EXPECT_EQ(a.graph.shape(a.add("Reshape", {a.x, target})), (Shape{1, 6, 20}));
}

TEST(ShapeArithmetic, EmptyListsAndScalarsPassThrough) {
  Arithmetic a;
  const ValueId none = a.add("Slice", {a.add("Shape", {a.x}), a.list({2}), a.list({2})});
  EXPECT_THAT(a.known(none), ElementsAre());
  EXPECT_EQ(a.graph.shape(a.add("Reshape", {a.number(7), none})), Shape{});
  EXPECT_THAT(a.known(a.add("Squeeze", {a.list({3})})), ElementsAre(3));
  EXPECT_THAT(a.known(a.add("Expand", {a.number(2), a.list({3})})), ElementsAre(2, 2, 2));
  EXPECT_THAT(a.known(a.add("Tile", {a.list({1, 2}), a.list({2})})), ElementsAre(1, 2, 1, 2));
}

TEST(ShapeArithmetic, RankIsKnownWhereExtentsAreNot) {
  Arithmetic a;
  const ValueId found = a.add("NonZero", {a.x});
  EXPECT_EQ(a.graph.type(found).shape, (Shape{4, -1}));
  EXPECT_EQ(a.graph.type(a.add("Shape", {found})).shape, Shape{2});
}

// -- Older forms
// -------------------------------------------------------------------------------------

/// Lifts the node to each of `targets` and runs both.
void expect_same_after_upgrade(const OneNode& old, const Integers& targets = {13, 18}) {
  const std::vector<Tensor> expected = old.run();
  for (const int64_t target : targets) {
    OneNode lifted = old;
    upgrade_opset(lifted.graph, target);
    verify(lifted.graph);
    const std::vector<Tensor> found = lifted.run();
    ASSERT_EQ(found.size(), expected.size());
    for (size_t i = 0; i < found.size(); ++i)
      EXPECT_TRUE(identical(found[i], expected[i])) << to_text(lifted.graph);
    EXPECT_FALSE(lifted.graph.node(lifted.graph.order()[0]).has_attribute("axes"));
  }
}

TEST(Upgrade, ListsBecomeOperands) {
  expect_same_after_upgrade({"Squeeze", counting({1, 3, 1}), {}, {{"axes", Integers{0, -1}}}, 11});
  expect_same_after_upgrade({"Unsqueeze", counting({3}), {}, {{"axes", Integers{0, 2}}}, 11});
  expect_same_after_upgrade(
      {"Slice", counting({4, 5}), {}, {{"starts", Integers{1, -3}}, {"ends", Integers{9, -1}}}, 9});
  expect_same_after_upgrade({"Split", counting({5}), {}, {{"split", Integers{1, 4}}}, 11, 2});
  expect_same_after_upgrade({"Split", counting({6}), {}, {}, 11, 3}, {13, 18, 20});
  expect_same_after_upgrade({"TopK", counting({7}), {}, {{"k", int64_t{3}}}, 9, 2});
  expect_same_after_upgrade(
      {"Scatter", counting({4}), {list_of(Integers{2}), list_of(std::vector<float>{9})}, {}, 9});
}

TEST(Upgrade, PadKeepsItsValue) {
  const Attributes attributes = {{"pads", Integers{1, 2}}, {"value", -1.5f}};
  expect_same_after_upgrade({"Pad", counting({3}), {}, attributes, 9});
  expect_same_after_upgrade({"Pad", cast(counting({3}), DType::kF16), {}, attributes, 9});
}

TEST(Upgrade, UpsampleAndOldResizeBecomeResize) {
  const Attributes linear = {{"mode", std::string("linear")}};
  for (const Attributes& mode : {Attributes{}, linear}) {
    for (const float scale : {2.0f, 1.7f, 3.0f}) {
      const Tensor scales = list_of(std::vector<float>{1, scale});
      expect_same_after_upgrade({"Upsample", counting({2, 5}), {scales}, mode, 9});
      expect_same_after_upgrade({"Resize", counting({2, 5}), {scales}, mode, 10});
    }
    const Tensor scales = list_of(std::vector<float>{1, 0.6f});
    expect_same_after_upgrade({"Resize", counting({2, 5}), {scales}, mode, 10});
  }
  Attributes attributes = {{"scales", std::vector<float>{1, 2}}};
  expect_same_after_upgrade({"Upsample", counting({2, 5}), {}, attributes, 7});
}

TEST(Upgrade, RefusesOldNearestThatEnlargesAndShrinks) {
  OneNode resize("Resize", counting({4, 4}), {list_of(std::vector<float>{2, 0.5f})}, {}, 10);
  try {
    upgrade_opset(resize.graph, 13);
    FAIL() << "no nearest_mode says this";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUnsupported);
    EXPECT_THAT(error.what(), HasSubstr("its scales enlarge and shrink"));
  }
}

}  // namespace
}  // namespace pare
