// QLinear operators on integer primitives mean what they mean in ONNX.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "exec/interpreter.h"
#include "exec/plan.h"
#include "ops/ops.h"

namespace pare {
namespace {

constexpr const char* kContrib = "com.microsoft";

/// Builds graphs of QLinear operators with seeded weights.
class QLinear {
 public:
  QLinear() : graph_(onnx_ops()), random_(5) {
    graph_.set_opset("", 13);
    graph_.set_opset(kContrib, 1);
  }

  ValueId input(Shape shape) { return graph_.add_input("x", {DType::kU8, std::move(shape)}); }
  ValueId scale(float value) { return constant(Tensor::scalar(value)); }
  ValueId zero(int value) { return constant(Tensor::scalar(static_cast<uint8_t>(value))); }

  ValueId conv(ValueId x, Shape weight, int64_t pad, int64_t group = 1) {
    const int64_t filters = weight[0];
    const int64_t inputs = element_count(weight) / filters;
    const auto taps = static_cast<float>(inputs);
    std::vector<float> scales;
    std::vector<int32_t> bias;
    for (int64_t i = 0; i < filters; ++i) {
      scales.push_back(0.002f + 0.0001f * static_cast<float>(i));
      bias.push_back(static_cast<int32_t>(random_() % 2000) - 1000);
    }
    const ValueId w = weights(std::move(weight));
    const float y_scale = 0.01f * std::sqrt(taps);
    return graph_.add_node("QLinearConv",
                           {x, scale(0.02f), zero(7), w, constant(Tensor({filters}, scales)),
                            constant(Tensor(DType::kI8, {filters})), scale(y_scale), zero(120),
                            constant(Tensor({filters}, bias))},
                           {{"pads", std::vector<int64_t>{pad, pad, pad, pad}}, {"group", group}});
  }

  /// A node of ONNX Runtime's own operators.
  ValueId contrib(const std::string& op, std::vector<ValueId> inputs, Attributes attributes = {}) {
    const ValueId y = graph_.add_value({.name = "y"});
    graph_.add_imported_node({.domain = kContrib,
                              .op = op,
                              .opset = 1,
                              .inputs = std::move(inputs),
                              .outputs = {y},
                              .attributes = std::move(attributes)},
                             false);
    graph_.infer_types();
    return y;
  }

  ValueId weights(Shape shape) {
    Tensor tensor(DType::kI8, std::move(shape));
    for (int8_t& w : tensor.mutable_data<int8_t>())
      w = static_cast<int8_t>(static_cast<int>(random_() % 255) - 127);
    return constant(std::move(tensor));
  }
  ValueId constant(Tensor tensor) { return graph_.add_constant("c", std::move(tensor)); }

  /// Both ways; no element may be more than a step off, and hardly any that far.
  void expect_alike(ValueId output) {
    graph_.set_outputs({output});
    Tensor x(graph_.type(graph_.inputs()[0]).dtype, graph_.shape(graph_.inputs()[0]));
    for (uint8_t& byte : x.mutable_data<uint8_t>()) byte = static_cast<uint8_t>(random_());
    const Tensor expected = execute(graph_, {x})[0];
    const Plan plan(graph_);
    for (const PlanStep& step : plan.steps()) EXPECT_NE(step.implementation, "eval") << step.kind;
    const Tensor actual = plan.run({x})[0];
    ASSERT_EQ(actual.type(), expected.type());
    const Tensor a = cast(expected, DType::kF32), b = cast(actual, DType::kF32);
    size_t differ = 0;
    for (size_t i = 0; i < a.data<float>().size(); ++i) {
      const float difference = std::abs(a.data<float>()[i] - b.data<float>()[i]);
      ASSERT_LE(difference, 1.0f) << i;
      differ += difference > 0 ? 1 : 0;
    }
    EXPECT_LE(differ, a.data<float>().size() / 100);
    EXPECT_NE(*std::ranges::max_element(a.data<float>()),
              *std::ranges::min_element(a.data<float>()));
  }

  Graph& graph() { return graph_; }

 private:
  Graph graph_;
  std::mt19937 random_;
};

TEST(PlanQLinear, ConvolutionsRunOnIntegers) {
  QLinear q;
  q.expect_alike(q.conv(q.input({2, 8, 9, 9}), {24, 8, 3, 3}, 1));
}

TEST(PlanQLinear, DepthwiseConvolutionsRunOnIntegers) {
  QLinear q;
  q.expect_alike(q.conv(q.input({1, 16, 9, 9}), {16, 1, 3, 3}, 1, 16));
}

TEST(PlanQLinear, AResidualBlockWithAPoolRunsOnIntegers) {
  QLinear q;
  const ValueId x = q.conv(q.input({1, 8, 8, 8}), {16, 8, 1, 1}, 0);
  const ValueId most = q.graph().add_node(
      "MaxPool", {x},
      {{"kernel_shape", std::vector<int64_t>{2, 2}}, {"strides", std::vector<int64_t>{2, 2}}});
  const ValueId y = q.conv(most, {16, 16, 3, 3}, 1);
  q.expect_alike(q.contrib("QLinearAdd", {most, q.scale(0.05f), q.zero(120), y, q.scale(0.07f),
                                          q.zero(120), q.scale(0.08f), q.zero(110)}));
}

TEST(PlanQLinear, ProductsRunOnIntegers) {
  QLinear q;
  const ValueId x = q.input({5, 40});
  const ValueId y = q.graph().add_node(
      "QLinearMatMul", {x, q.scale(0.02f), q.zero(3), q.weights({40, 33}), q.scale(0.003f),
                        q.constant(Tensor::scalar(int8_t{0})), q.scale(0.05f), q.zero(128)});
  q.expect_alike(y);
}

TEST(PlanQLinear, AGemmWithoutAnOutputScaleGivesFloats) {
  QLinear q;
  const ValueId x = q.input({5, 40});
  std::vector<int32_t> bias(33, 100);
  q.expect_alike(q.contrib("QGemm",
                           {x, q.scale(0.02f), q.zero(3), q.weights({33, 40}), q.scale(0.003f),
                            q.constant(Tensor::scalar(int8_t{0})), q.constant(Tensor({33}, bias))},
                           {{"transB", int64_t{1}}}));
}

TEST(PlanQLinear, UnsignedWeightsAreEvaluated) {
  QLinear q;
  const ValueId x = q.input({2, 4});
  const Tensor weights({4, 3}, std::vector<uint8_t>(12, 130));
  q.graph().set_outputs({q.graph().add_node(
      "QLinearMatMul", {x, q.scale(0.02f), q.zero(3), q.constant(weights), q.scale(0.01f),
                        q.zero(128), q.scale(0.05f), q.zero(128)})});
  const Tensor input({2, 4}, std::vector<uint8_t>{9, 8, 7, 6, 5, 4, 3, 2});
  EXPECT_TRUE(identical(Plan(q.graph()).run({input})[0], execute(q.graph(), {input})[0]));
}

}  // namespace
}  // namespace pare
