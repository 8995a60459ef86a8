#include "passes/adjoint.h"

#include <gtest/gtest.h>

#include <cmath>

#include "exec/interpreter.h"
#include "pruning_graphs.h"

namespace pare {
namespace {

/// J(z)^T e against differences of the piece along each of a few directions.
void expect_adjoint(const Graph& piece) {
  const std::optional<Graph> back = adjoint(piece);
  ASSERT_TRUE(back);
  const Tensor z = random_tensor(piece.shape(piece.inputs()[0]), 5);
  const Tensor e = random_tensor(piece.shape(piece.outputs()[0]), 6);
  const Tensor gradient = execute(*back, {z, e})[0];
  ASSERT_EQ(gradient.shape(), z.shape());
  for (uint32_t seed = 20; seed < 24; ++seed) {
    const Tensor direction = random_tensor(z.shape(), seed);
    const auto moved = [&](float by) {
      Tensor at = z;
      for (size_t i = 0; i < at.data<float>().size(); ++i)
        at.mutable_data<float>()[i] += by * direction.data<float>()[i];
      const Tensor y = execute(piece, {at})[0];
      double sum = 0;
      for (size_t i = 0; i < y.data<float>().size(); ++i)
        sum += static_cast<double>(y.data<float>()[i]) * static_cast<double>(e.data<float>()[i]);
      return sum;
    };
    constexpr float kStep = 1e-4f;
    const double slope = (moved(kStep) - moved(-kStep)) / (2 * static_cast<double>(kStep));
    double product = 0;
    for (size_t i = 0; i < z.data<float>().size(); ++i)
      product += static_cast<double>(gradient.data<float>()[i]) *
                 static_cast<double>(direction.data<float>()[i]);
    EXPECT_NEAR(slope, product, 0.03 * std::abs(product) + 0.05);
  }
}

TEST(Adjoint, OfConvolutionsWithStridesAndClips) {
  Builder b;
  const ValueId x = b.image(4, 9);
  const ValueId low = b.graph.add_constant("low", Tensor(Shape{}, std::vector{-0.5f}));
  const ValueId high = b.graph.add_constant("high", Tensor(Shape{}, std::vector{0.7f}));
  const ValueId clipped = b.graph.add_node("Clip", {x, low, high});
  const ValueId deep = b.relu(b.conv(clipped, 4, 3, "dw", 4));
  const ValueId strided = b.graph.add_node(
      "Conv", {deep, b.weight("s.w", {6, 4, 3, 3})},
      {{"strides", std::vector<int64_t>{2, 2}}, {"pads", std::vector<int64_t>{1, 0, 0, 1}}});
  b.graph.set_outputs({strided});
  expect_adjoint(b.graph);
}

TEST(Adjoint, OfConvolutionsThatLeaveARestUnread) {
  Builder b;
  const ValueId x = b.image(3, 8);
  b.graph.set_outputs({b.graph.add_node("Conv", {x, b.weight("s.w", {5, 3, 2, 2})},
                                        {{"strides", std::vector<int64_t>{3, 3}}})});
  expect_adjoint(b.graph);
}

TEST(Adjoint, OfProductsWithABias) {
  Builder b;
  const ValueId x = b.graph.add_input("x", {DType::kF32, {3, 6}});
  const ValueId hidden = b.graph.add_node("MatMul", {x, b.weight("m", {6, 8})});
  const ValueId biased =
      b.graph.add_node("Add", {b.graph.add_constant("a", random_tensor({8}, 77)), hidden});
  b.graph.set_outputs(
      {b.graph.add_node("Gemm", {b.relu(biased), b.weight("g", {4, 8}), b.weight("c", {4})},
                        {{"transB", int64_t{1}}})});
  expect_adjoint(b.graph);
}

TEST(Adjoint, OfGatesThatReadWhatTheyScale) {
  Builder b;
  const ValueId x = b.image(4, 6);
  const ValueId swish = b.graph.add_node("Mul", {x, b.graph.add_node("Sigmoid", {x})});
  const ValueId squeezed = b.relu(b.conv(
      b.graph.add_node("AveragePool", {swish}, {{"kernel_shape", std::vector<int64_t>{6, 6}}}), 3,
      1, "s"));
  const ValueId gate = b.graph.add_node("HardSigmoid", {b.conv(squeezed, 4, 1, "e")});
  const ValueId flat = b.graph.add_node("Flatten", {b.graph.add_node("Mul", {swish, gate})});
  b.graph.set_outputs({b.graph.add_node("MatMul", {flat, b.weight("m", {144, 3})})});
  expect_adjoint(b.graph);
}

TEST(Adjoint, OfOneInputOfSeveral) {
  Builder b;
  const ValueId x = b.image(4, 6);
  const ValueId y = b.graph.add_input("y", {DType::kF32, {1, 2, 6, 6}});
  const ValueId both = b.graph.add_node("Concat", {y, b.relu(x)}, {{"axis", int64_t{1}}});
  b.graph.set_outputs({b.conv(both, 5, 3, "c")});
  const std::optional<Graph> back = adjoint(b.graph, 0);
  ASSERT_TRUE(back);
  const Tensor at = random_tensor({1, 4, 6, 6}, 1), other = random_tensor({1, 2, 6, 6}, 2);
  const Tensor e = random_tensor({1, 5, 6, 6}, 3);
  const Tensor gradient = execute(*back, {at, other, e})[0];
  const auto product = [&](const Tensor& u, const Tensor& v) {
    double sum = 0;
    for (size_t i = 0; i < u.data<float>().size(); ++i)
      sum += static_cast<double>(u.data<float>()[i]) * static_cast<double>(v.data<float>()[i]);
    return sum;
  };
  Tensor moved = at;  // Along itself, which crosses no corner and goes through no added constant.
  for (float& value : moved.mutable_data<float>()) value *= 2;
  const double before = product(execute(b.graph, {at, other})[0], e);
  EXPECT_NEAR(product(execute(b.graph, {moved, other})[0], e) - before, product(gradient, at),
              1e-3 * std::abs(before) + 1e-3);
}

TEST(Adjoint, OfWhatPicksPlaces) {
  Builder b;
  const auto ints = [&](std::vector<int64_t> values) {
    return b.graph.add_constant("i", Tensor(Shape{std::ssize(values)}, values));
  };
  const ValueId x = b.image(6, 8);
  const ValueId shuffled =
      b.graph.add_node("Gather", {x, ints({0, 3, 1, 4, 2, 5})}, {{"axis", int64_t{1}}});
  const ValueId thinned =
      b.graph.add_node("Slice", {shuffled, ints({1, 0}), ints({8, 8}), ints({2, 3}), ints({2, 2})});
  const ValueId padded = b.graph.add_node("Pad", {thinned, ints({0, 1, 0, 1, 0, 2, 1, 0})});
  b.graph.set_outputs({b.conv(padded, 5, 3, "c")});
  expect_adjoint(b.graph);
}

TEST(Adjoint, OfPartsOfASplit) {
  Builder b;
  const ValueId x = b.image(6, 5);
  const ValueId first = b.graph.add_node("Split", {x}, {{"axis", int64_t{1}}}, "split", 2);
  const std::vector<ValueId> parts = b.graph.node(*b.graph.value(first).producer).outputs;
  const ValueId left = b.conv(parts[0], 4, 3, "l"), right = b.relu(b.conv(parts[1], 4, 1, "r"));
  b.graph.set_outputs({b.add(left, right)});
  expect_adjoint(b.graph);
}

TEST(Adjoint, OfPoolsThatOverlap) {
  using List = std::vector<int64_t>;
  for (const char* pool : {"MaxPool", "AveragePool"}) {
    Builder b;
    const ValueId x = b.image(3, 9);
    const ValueId y = b.graph.add_node(
        pool, {x},
        {{"kernel_shape", List{3, 3}}, {"strides", List{2, 2}}, {"pads", List{1, 1, 0, 1}}});
    b.graph.set_outputs({b.conv(y, 4, 3, "c")});
    expect_adjoint(b.graph);
  }
}

TEST(Adjoint, OfMeansAndInterpolations) {
  Builder b;
  const ValueId x = b.image(3, 5);
  const ValueId scales =
      b.graph.add_constant("s", Tensor(Shape{4}, std::vector{1.0f, 1.0f, 2.0f, 1.6f}));
  const ValueId wide = b.graph.add_node("Resize", {x, kNoValue, scales}, {{"mode", "linear"}});
  const ValueId mean =
      b.graph.add_node("ReduceMean", {b.relu(wide)},
                       {{"axes", std::vector<int64_t>{2, 3}}, {"keepdims", int64_t{0}}});
  b.graph.set_outputs({b.graph.add_node("MatMul", {mean, b.weight("m", {3, 4})})});
  expect_adjoint(b.graph);
}

TEST(Adjoint, OfSoftmaxTransposeAndDifferences) {
  Builder b;
  const ValueId x = b.image(4, 3);
  const ValueId turned =
      b.graph.add_node("Transpose", {x}, {{"perm", std::vector<int64_t>{0, 2, 3, 1}}});
  const ValueId shares = b.graph.add_node("Softmax", {turned}, {{"axis", int64_t{-1}}});
  const ValueId half = b.graph.add_constant("h", Tensor(Shape{}, std::vector{0.5f}));
  const ValueId gap = b.graph.add_node("Sub", {b.graph.add_node("Div", {shares, half}), turned});
  b.graph.set_outputs({b.graph.add_node("MatMul", {gap, b.weight("m", {4, 5})})});
  expect_adjoint(b.graph);
}

TEST(Adjoint, IsNotMadeOfOperatorsWithoutARule) {
  Builder b;
  const ValueId axis = b.graph.add_constant("axis", Tensor(Shape{}, std::vector{int64_t{1}}));
  b.graph.set_outputs({b.graph.add_node("CumSum", {b.conv(b.image(3, 8), 4, 3, "c"), axis})});
  EXPECT_FALSE(adjoint(b.graph));
}

TEST(Gradients, AreThoseOfOneValueAtATimeAndLeaveOutWhatIsCutOff) {
  Builder b;
  const ValueId x = b.image(3, 6);
  const ValueId first = b.conv(x, 4, 3, "first");
  const ValueId axis = b.graph.add_constant("axis", Tensor(Shape{}, std::vector{int64_t{1}}));
  const ValueId cut = b.conv(x, 4, 3, "cut");
  const ValueId other = b.conv(b.graph.add_node("CumSum", {cut, axis}), 4, 1, "other");
  const ValueId second = b.conv(b.relu(first), 4, 3, "second");
  const ValueId sum = b.add(b.relu(second), other);
  b.graph.set_outputs({sum});
  const Gradients all = gradients(b.graph, {first, second, cut, other});
  EXPECT_EQ(all.values, (std::vector<ValueId>{first, second, other}));
  const Tensor image = random_tensor({1, 3, 6, 6}, 1), e = random_tensor({1, 4, 6, 6}, 2);
  const std::vector<Tensor> found = execute(all.graph, {image, e});
  for (size_t i = 0; i < all.values.size(); ++i) {
    const Gradients alone = gradients(b.graph, {all.values[i]});
    EXPECT_TRUE(identical(found[i], execute(alone.graph, {image, e})[0]));
  }
}

}  // namespace
}  // namespace pare
