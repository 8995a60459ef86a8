// Reductions, ArgMax, CumSum and the Softmax family. Expected numbers that are not obvious come
// from ONNX Runtime.

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "passes/upgrade_opset.h"
#include "unit/one_node.h"

namespace pare {
namespace {

using Integers = std::vector<int64_t>;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

template <typename T>
std::vector<T> elements(const Tensor& tensor) {
  return {tensor.data<T>().begin(), tensor.data<T>().end()};
}

// -- Reductions ------------------------------------------------------------------

TEST(Reduce, ReadsAxesFromAttributeAndOperand) {
  const Tensor x = counting({2, 3});
  EXPECT_EQ(floats(OneNode("ReduceSum", x, {}, {{"axes", Integers{1}}}, 11).run()[0]),
            (std::vector<float>{3, 12}));
  EXPECT_EQ(floats(OneNode("ReduceSum", x, {list_of<int64_t>({1})}, {}, 13).run()[0]),
            (std::vector<float>{3, 12}));
  EXPECT_EQ(floats(OneNode("ReduceMean", x, {list_of<int64_t>({0})}, {}, 18).run()[0]),
            (std::vector<float>{1.5f, 2.5f, 3.5f}));
}

TEST(Reduce, KeepsOrDropsTheAxes) {
  const Tensor x = counting({2, 3, 4});
  const Attributes keep = {{"axes", Integers{0, -1}}};
  Attributes drop = keep;
  drop["keepdims"] = int64_t{0};
  EXPECT_EQ(OneNode("ReduceMax", x, {}, keep, 13).run()[0].shape(), (Shape{1, 3, 1}));
  EXPECT_EQ(OneNode("ReduceMax", x, {}, drop, 13).run()[0].shape(), (Shape{3}));
  EXPECT_EQ(floats(OneNode("ReduceMax", x, {}, drop, 13).run()[0]),
            (std::vector<float>{15, 19, 23}));
}

TEST(Reduce, WithoutAxesReducesAllOrNothing) {
  const Tensor x = counting({2, 2}), none = list_of<int64_t>({});
  EXPECT_EQ(floats(OneNode("ReduceSum", x, {none}).run()[0]), (std::vector<float>{6}));
  const Attributes noop = {{"noop_with_empty_axes", int64_t{1}}};
  EXPECT_EQ(floats(OneNode("ReduceSum", x, {none}, noop).run()[0]),
            (std::vector<float>{0, 1, 2, 3}));
}

TEST(Reduce, OfNothingIsTheNeutralElement) {
  const Tensor x(DType::kF32, {2, 0});
  const auto run = [&](const char* op) {
    return floats(OneNode(op, x, {list_of<int64_t>({1})}, {}, 20).run()[0])[1];
  };
  EXPECT_EQ(run("ReduceSum"), 0);
  EXPECT_EQ(run("ReduceProd"), 1);
  EXPECT_EQ(run("ReduceMax"), -kInfinity);
  EXPECT_EQ(run("ReduceMin"), kInfinity);
  EXPECT_EQ(run("ReduceLogSum"), -kInfinity);
}

TEST(Reduce, LogSumExpDoesNotOverflow) {
  const Tensor x = list_of<float>({1000, 1001, -kInfinity});
  EXPECT_FLOAT_EQ(floats(OneNode("ReduceLogSumExp", x).run()[0])[0], 1001.31326f);
}

TEST(Reduce, LongSumsKeepTheirDigits) {
  const Tensor x({1, 1000003}, std::vector<float>(1000003, 0.1f));
  const float sum = floats(OneNode("ReduceSum", x).run()[0])[0];
  EXPECT_NEAR(sum, 1000003 * static_cast<double>(0.1f), 0.01);
}

TEST(Reduce, BoolsTakeMaxAndMin) {
  const Tensor x({2, 2}, std::vector<bool>{true, false, false, false});
  const Tensor axis = list_of<int64_t>({1});
  EXPECT_EQ(elements<bool>(OneNode("ReduceMax", x, {axis}, {}, 20).run()[0]),
            (std::vector<bool>{true, false}));
  EXPECT_EQ(elements<bool>(OneNode("ReduceMin", x, {axis}, {}, 20).run()[0]),
            (std::vector<bool>{false, false}));
}

TEST(Reduce, IntegersKeepTheirType) {
  const Tensor x = list_of<int32_t>({3, -4, 2});
  const auto run = [&](const char* op) { return elements<int32_t>(OneNode(op, x).run()[0])[0]; };
  EXPECT_EQ(run("ReduceL1"), 9);
  EXPECT_EQ(run("ReduceL2"), 5);
  EXPECT_EQ(run("ReduceSumSquare"), 29);
  EXPECT_EQ(run("ReduceProd"), -24);
}

TEST(Reduce, UpgradeMovesTheAxesToAnOperand) {
  OneNode sum("ReduceSum", counting({2, 3}), {}, {{"axes", Integers{1}}}, 11);
  upgrade_opset(sum.graph, 13);
  verify(sum.graph);
  EXPECT_FALSE(sum.graph.node(sum.graph.order()[0]).has_attribute("axes"));
  EXPECT_EQ(floats(sum.run()[0]), (std::vector<float>{3, 12}));

  OneNode mean("ReduceMean", counting({2, 3}), {}, {{"axes", Integers{1}}}, 11);
  upgrade_opset(mean.graph, 13);
  EXPECT_TRUE(mean.graph.node(mean.graph.order()[0]).has_attribute("axes"));
  upgrade_opset(mean.graph, 18);
  EXPECT_FALSE(mean.graph.node(mean.graph.order()[0]).has_attribute("axes"));
  EXPECT_EQ(floats(mean.run()[0]), (std::vector<float>{1, 4}));
}

TEST(Reduce, AxisOutsideTheRankIsAnError) {
  EXPECT_THROW(OneNode("ReduceSum", counting({2, 3}), {list_of<int64_t>({2})}), Error);
}

TEST(ArgMax, PicksTheFirstOrTheLastOfEquals) {
  const Tensor x({1, 4}, std::vector<float>{1, 3, 3, 2});
  const auto run = [&](int64_t last) {
    const Attributes attributes = {{"axis", int64_t{1}}, {"select_last_index", last}};
    return elements<int64_t>(OneNode("ArgMax", x, {}, attributes).run()[0])[0];
  };
  EXPECT_EQ(run(0), 1);
  EXPECT_EQ(run(1), 2);
}

TEST(ArgMax, OfAnEmptyAxisIsAnError) {
  EXPECT_THROW(OneNode("ArgMax", Tensor(DType::kF32, {2, 0}), {}, {{"axis", int64_t{1}}}), Error);
}

TEST(CumSum, RunsExclusivelyAndBackwards) {
  const auto run = [](int64_t exclusive, int64_t reverse) {
    const Attributes attributes = {{"exclusive", exclusive}, {"reverse", reverse}};
    return floats(
        OneNode("CumSum", counting({4}), {Tensor::scalar(int64_t{0})}, attributes).run()[0]);
  };
  EXPECT_EQ(run(0, 0), (std::vector<float>{0, 1, 3, 6}));
  EXPECT_EQ(run(1, 0), (std::vector<float>{0, 0, 1, 3}));
  EXPECT_EQ(run(0, 1), (std::vector<float>{6, 6, 5, 3}));
  EXPECT_EQ(run(1, 1), (std::vector<float>{6, 5, 3, 0}));
}

// -- Softmax ---------------------------------------------------------------------

Tensor quarters() {
  std::vector<float> values;
  for (int i = 1; i <= 12; ++i) values.push_back(static_cast<float>(i) / 4 - 1.2f);
  return Tensor({1, 2, 2, 3}, values);
}

TEST(Softmax, BeforeOpset13SpansAllAxesFromItsOwnOn) {
  const std::vector<float> row = {0.08157691f, 0.10474683f, 0.13449758f,
                                  0.17269832f, 0.22174902f, 0.28473139f};
  const std::vector<float> y =
      floats(OneNode("Softmax", quarters(), {}, {{"axis", int64_t{2}}}, 11).run()[0]);
  for (size_t i = 0; i < y.size(); ++i) EXPECT_NEAR(y[i], row[i % 6], 1e-6);
}

TEST(Softmax, OfLargeLogitsDoesNotOverflow) {
  const Tensor y = OneNode("Softmax", list_of<float>({1000, 1000, -kInfinity})).run()[0];
  EXPECT_EQ(floats(y), (std::vector<float>{0.5f, 0.5f, 0}));
}

TEST(Softmax, UpgradeKeepsTheNumbersOfEveryAxis) {
  for (const char* op : {"Softmax", "LogSoftmax", "Hardmax"}) {
    for (int64_t axis = -4; axis < 4; ++axis) {
      OneNode node(op, quarters(), {}, {{"axis", axis}}, 11);
      const std::string name = node.graph.value(node.graph.outputs()[0]).name;
      const std::vector<float> before = floats(node.run()[0]);
      upgrade_opset(node.graph, 13);
      verify(node.graph);
      EXPECT_EQ(floats(node.run()[0]), before) << op << " along " << axis;
      EXPECT_EQ(node.graph.value(node.graph.outputs()[0]).name, name);
      const bool last = axis == 3 || axis == -1;
      EXPECT_EQ(node.graph.order().size(), last ? 1u : 4u) << op << " along " << axis;
    }
  }
}

TEST(Softmax, UpgradeKeepsTheDefaultAxis) {
  OneNode node("Softmax", quarters(), {}, {}, 11);
  const std::vector<float> before = floats(node.run()[0]);
  upgrade_opset(node.graph, 13);
  EXPECT_EQ(floats(node.run()[0]), before);
}

}  // namespace
}  // namespace pare
