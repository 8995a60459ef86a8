// Broadcasting, arithmetic, activations, casts and the operators that make values. Expected numbers
// that are not obvious come from ONNX Runtime.

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <functional>
#include <limits>

#include "ops/broadcast.h"
#include "ops/vector_math.h"
#include "passes/upgrade_opset.h"
#include "unit/one_node.h"

namespace pare {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
const float kNan = std::nanf("");

Tensor strings_of(const std::vector<std::string>& strings) {
  return Tensor::of_strings({std::ssize(strings)}, strings);
}

template <typename T>
std::vector<T> elements(const Tensor& tensor) {
  return {tensor.data<T>().begin(), tensor.data<T>().end()};
}

/// The one result of `op` on lists.
template <typename T, typename R = T>
std::vector<R> on_lists(std::string_view op, const std::vector<T>& a, const std::vector<T>& b,
                        Attributes attributes = {}) {
  return elements<R>(OneNode(op, list_of(a), {list_of(b)}, std::move(attributes)).run()[0]);
}

std::string message_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

// -- Broadcasting ----------------------------------------------------------------

BroadcastPlan plan_of(const Shape& a, const Shape& b) {
  const std::array<const Shape*, 2> shapes = {&a, &b};
  return plan_broadcast(shapes, broadcast_shape(a, b));
}

TEST(Broadcast, OneShapeIsOneRow) {
  const BroadcastPlan plan = plan_of({2, 3, 4}, {2, 3, 4});
  EXPECT_EQ(plan.row, 24);
  EXPECT_TRUE(plan.extents.empty());
}

TEST(Broadcast, ScalarIsOneRowInWhichItStandsStill) {
  const BroadcastPlan plan = plan_of({}, {2, 3, 4});
  EXPECT_EQ(plan.row, 24);
  EXPECT_FALSE(plan.moves[0]);
  EXPECT_TRUE(plan.moves[1]);
}

TEST(Broadcast, OneNumberAChannelMakesARowAChannel) {
  const BroadcastPlan plan = plan_of({2, 3, 4, 5}, {3, 1, 1});
  EXPECT_EQ(plan.row, 20);
  EXPECT_EQ(plan.extents, (std::vector<int64_t>{2, 3}));
  EXPECT_FALSE(plan.moves[1]);
}

TEST(Broadcast, ShapesThatDoNotFitAreNamed) {
  EXPECT_EQ(message_of([] {
              (void)broadcast_shape({2, 3}, {2, 4});
            }),
            "shapes [2,3] and [2,4] do not broadcast, for 3 meets 4 where equal extents or a 1 "
            "are needed");
}

TEST(Broadcast, EveryCombinationOfExtentsMatchesIndexArithmetic) {
  const int64_t extents[] = {1, 3};
  for (int bits = 0; bits < 64; ++bits) {
    Shape a, b;
    for (int axis = 0; axis < 3; ++axis) {
      a.push_back(extents[bits >> axis & 1]);
      b.push_back(extents[bits >> (axis + 3) & 1]);
    }
    const Tensor y = OneNode("Sub", counting(a), {counting(b)}).run()[0];
    const Shape shape = broadcast_shape(a, b);
    ASSERT_EQ(y.shape(), shape);
    for (int64_t i = 0; i < y.size(); ++i) {
      const int64_t at[] = {i / (shape[1] * shape[2]), i / shape[2] % shape[1], i % shape[2]};
      const auto element = [&](const Shape& s) {
        int64_t offset = 0;
        for (size_t axis = 0; axis < 3; ++axis)
          offset = offset * s[axis] + (s[axis] == 1 ? 0 : at[axis]);
        return static_cast<float>(offset);
      };
      ASSERT_EQ(y.data<float>()[static_cast<size_t>(i)], element(a) - element(b));
    }
  }
}

TEST(Broadcast, EmptyTensorsStayEmpty) {
  const Tensor y = OneNode("Add", counting({0, 3}), {counting({1, 3})}).run()[0];
  EXPECT_EQ(y.shape(), (Shape{0, 3}));
  EXPECT_EQ(OneNode("Relu", counting({2, 0})).run()[0].shape(), (Shape{2, 0}));
}

TEST(Broadcast, FillsStringsToo) {
  const Tensor y = broadcast_to(Tensor::of_strings({2, 1}, {"a", "b"}), {2, 2});
  EXPECT_EQ(y.strings(), (std::vector<std::string>{"a", "a", "b", "b"}));
}

// -- Vector math -----------------------------------------------------------------

TEST(VectorMath, ExponentialIsWithinTwoUnitsInTheLastPlace) {
  for (float x = -87.0f; x < 88.7f; x += 0.0137f) {
    const double exact = std::exp(static_cast<double>(x));
    EXPECT_NEAR(fast_exp(x) / exact, 1.0, 2.4e-7) << x;
  }
  EXPECT_EQ(fast_exp(89.0f), kInfinity);
  EXPECT_EQ(fast_exp(kInfinity), kInfinity);
  EXPECT_EQ(fast_exp(-kInfinity), 0.0f);
  EXPECT_EQ(fast_exp(0.0f), 1.0f);
  EXPECT_TRUE(std::isnan(fast_exp(kNan)));
}

TEST(VectorMath, TangentAndSigmoidKeepTheirRelativeAccuracy) {
  for (float x = -20.0f; x < 20.0f; x += 0.00317f) {
    const auto exact = static_cast<double>(x);
    EXPECT_NEAR(fast_tanh(x), std::tanh(exact), 4e-7 * std::abs(std::tanh(exact)) + 1e-30) << x;
    const double sigmoid = 1 / (1 + std::exp(-exact));
    EXPECT_NEAR(fast_sigmoid(x), sigmoid, 4e-7 * sigmoid) << x;
  }
  EXPECT_EQ(fast_tanh(kInfinity), 1.0f);
  EXPECT_EQ(fast_tanh(-kInfinity), -1.0f);
  EXPECT_TRUE(std::isnan(fast_tanh(kNan)));
}

// -- Functions -------------------------------------------------------------------

TEST(Elementwise, RoundTakesHalvesToEven) {
  const OneNode round("Round", list_of<float>({0.5f, 1.5f, 2.5f, -0.5f, -1.5f, 2.6f}));
  EXPECT_EQ(floats(round.run()[0]), (std::vector<float>{0, 2, 2, 0, -2, 3}));
}

TEST(Elementwise, SignOfNanIsNan) {
  const Tensor y = OneNode("Sign", list_of<float>({-3, 0, 2, kNan})).run()[0];
  EXPECT_EQ(y.data<float>()[0], -1);
  EXPECT_EQ(y.data<float>()[2], 1);
  EXPECT_TRUE(std::isnan(y.data<float>()[3]));
}

TEST(Elementwise, NegatingTheLowestIntegerWrapsAround) {
  const Tensor x = list_of<int8_t>({-128, 5});
  EXPECT_EQ(elements<int8_t>(OneNode("Neg", x).run()[0]), (std::vector<int8_t>{-128, -5}));
  EXPECT_EQ(elements<int8_t>(OneNode("Abs", x).run()[0]), (std::vector<int8_t>{-128, 5}));
}

TEST(Elementwise, IsInfHeedsItsDirections) {
  const Tensor x = list_of<float>({kInfinity, -kInfinity, kNan, 1});
  const auto run = [&](int64_t positive, int64_t negative) {
    return elements<bool>(
        OneNode("IsInf", x, {}, {{"detect_positive", positive}, {"detect_negative", negative}})
            .run()[0]);
  };
  EXPECT_EQ(run(1, 1), (std::vector<bool>{true, true, false, false}));
  EXPECT_EQ(run(1, 0), (std::vector<bool>{true, false, false, false}));
  EXPECT_EQ(run(0, 1), (std::vector<bool>{false, true, false, false}));
}

TEST(Elementwise, HalfIsComputedInFloatAndRoundedBack) {
  const Tensor x = cast(list_of<float>({1.0f, 2.0f, 3.0f}), DType::kF16);
  const Tensor y = OneNode("Sqrt", x).run()[0];
  EXPECT_EQ(y.dtype(), DType::kF16);
  EXPECT_EQ(static_cast<float>(y.data<Float16>()[1]), 1.4140625f);
}

TEST(Elementwise, FunctionsOfFloatsRejectIntegers) {
  EXPECT_EQ(message_of([] { OneNode("Exp", list_of<int32_t>({1})); }),
            "node 'n' (Exp): an operand has element type i32, but the operator takes floats");
}

// -- Arithmetic ------------------------------------------------------------------

TEST(Arithmetic, IntegerDivisionTruncates) {
  EXPECT_EQ(on_lists<int32_t>("Div", {7, -7, 7, -7}, {2, 2, -2, -2}),
            (std::vector<int32_t>{3, -3, -3, 3}));
  EXPECT_EQ(on_lists<int32_t>("Div", {INT32_MIN}, {-1}), (std::vector<int32_t>{INT32_MIN}));
}

TEST(Arithmetic, IntegerDivisionByZeroIsAnError) {
  EXPECT_THROW(on_lists<int32_t>("Div", {7}, {0}), Error);
  EXPECT_THROW(on_lists<int64_t>("Mod", {7}, {0}), Error);
}

TEST(Arithmetic, ModHasTheSignOfTheDivisorAndFmodThatOfTheDividend) {
  EXPECT_EQ(on_lists<int32_t>("Mod", {7, -7, 7, -7}, {3, 3, -3, -3}),
            (std::vector<int32_t>{1, 2, -2, -1}));
  EXPECT_EQ(on_lists<int32_t>("Mod", {7, -7, 7, -7}, {3, 3, -3, -3}, {{"fmod", int64_t{1}}}),
            (std::vector<int32_t>{1, -1, 1, -1}));
  EXPECT_EQ(on_lists<float>("Mod", {7.5f, -7.5f}, {2.0f, 2.0f}, {{"fmod", int64_t{1}}}),
            (std::vector<float>{1.5f, -1.5f}));
}

TEST(Arithmetic, IntegersWrapAround) {
  EXPECT_EQ(on_lists<int8_t>("Add", {127, -128}, {1, -1}), (std::vector<int8_t>{-128, 127}));
  EXPECT_EQ(on_lists<uint16_t>("Mul", {65535}, {65535}), (std::vector<uint16_t>{1}));
  EXPECT_EQ(on_lists<int64_t>("Sub", {INT64_MIN}, {1}), (std::vector<int64_t>{INT64_MAX}));
}

TEST(Arithmetic, PowerKeepsTheTypeOfTheBase) {
  const Tensor y =
      OneNode("Pow", list_of<int32_t>({2, 3, 4, -2}), {list_of<float>({0.5f, 2.0f, 1.5f, 3.0f})})
          .run()[0];
  EXPECT_EQ(elements<int32_t>(y), (std::vector<int32_t>{1, 9, 8, -8}));
  EXPECT_EQ(on_lists<int64_t>("Pow", {3, 2, -1, 1, 5}, {39, -1, -3, -7, 0}),
            (std::vector<int64_t>{4052555153018976267, 0, -1, 1, 1}));
}

TEST(Arithmetic, MaxAndMinSpreadNan) {
  for (const char* op : {"Max", "Min"}) {
    const std::vector<float> y = on_lists<float>(op, {kNan, 1, 2}, {1, kNan, 3});
    EXPECT_TRUE(std::isnan(y[0]) && std::isnan(y[1]) && !std::isnan(y[2])) << op;
  }
}

TEST(Arithmetic, MeanOfThreeBroadcastOperands) {
  const Tensor y =
      OneNode("Mean", counting({2, 2}), {counting({2}), Tensor::scalar(3.0f)}).run()[0];
  EXPECT_EQ(floats(y), (std::vector<float>{1, 5 / 3.0f, 5 / 3.0f, 7 / 3.0f}));
}

TEST(Arithmetic, BitShiftByTheWidthOrMoreLeavesTheSign) {
  const auto shift = [](const char* direction, std::vector<int8_t> a, std::vector<int8_t> b) {
    return on_lists<int8_t>("BitShift", a, b, {{"direction", std::string(direction)}});
  };
  EXPECT_EQ(shift("RIGHT", {-8, 64, -1, 5}, {1, 8, 100, -1}), (std::vector<int8_t>{-4, 0, -1, 0}));
  EXPECT_EQ(shift("LEFT", {1, 1, -1}, {3, 8, 7}), (std::vector<int8_t>{8, 0, -128}));
}

TEST(Arithmetic, StringsCompareEqual) {
  const Tensor y =
      OneNode("Equal", strings_of({"a", "b", ""}), {strings_of({"a", "c", ""})}, {}, 19).run()[0];
  EXPECT_EQ(elements<bool>(y), (std::vector<bool>{true, false, true}));
}

TEST(Arithmetic, WhereChoosesStringsAndBroadcastsAllThree) {
  const Tensor condition({2, 1}, std::vector<bool>{true, false});
  const Tensor y =
      OneNode("Where", condition, {strings_of({"a", "b"}), strings_of({"c"})}).run()[0];
  EXPECT_EQ(y.shape(), (Shape{2, 2}));
  EXPECT_EQ(y.strings(), (std::vector<std::string>{"a", "b", "c", "c"}));
}

TEST(Arithmetic, OperandsOfTwoTypesAreNamed) {
  EXPECT_EQ(message_of([] {
              OneNode("Add", counting({2}), {list_of<int32_t>({1, 2})});
            }),
            "node 'n' (Add): operands are f32[2] and i32[2], but must have one element type");
}

// -- Activations with a form of their own ----------------------------------------

TEST(Activation, GeluFarBelowZeroDoesNotCancel) {
  const Tensor x = list_of<float>({-5.03552f, -9.0f, 1.0f});
  const std::vector<float> y =
      floats(OneNode("Gelu", x, {}, {{"approximate", std::string("tanh")}}, 20).run()[0]);
  EXPECT_NEAR(y[0], -1.8009057e-07, 1e-12);
  EXPECT_NEAR(y[1], 0, 1e-18);
  EXPECT_NEAR(y[2], 0.841192, 1e-6);
}

TEST(Activation, PReluBroadcastsItsSlope) {
  const Tensor x({2, 2}, std::vector<float>{-1, -2, 3, -4});
  const Tensor slope({2, 1}, std::vector<float>{0.5f, 0.25f});
  EXPECT_EQ(floats(OneNode("PRelu", x, {slope}).run()[0]), (std::vector<float>{-0.5f, -1, 3, -1}));
  EXPECT_THROW(OneNode("PRelu", slope, {x}), Error) << "only the slope broadcasts";
}

TEST(Clip, ReadsBoundsInBothForms) {
  const Tensor x = list_of<float>({-2, 0.5f, 9});
  EXPECT_EQ(floats(OneNode("Clip", x, {}, {{"min", -1.0f}, {"max", 6.0f}}, 6).run()[0]),
            (std::vector<float>{-1, 0.5f, 6}));
  EXPECT_EQ(floats(OneNode("Clip", x, {Tensor(), Tensor::scalar(6.0f)}).run()[0]),
            (std::vector<float>{-2, 0.5f, 6}));
}

TEST(Clip, AnUpperBoundBelowTheLowerOneWins) {
  const Tensor x = list_of<int8_t>({-9, 0, 9});
  const std::vector<Tensor> bounds = {Tensor::scalar(int8_t{3}), Tensor::scalar(int8_t{1})};
  EXPECT_EQ(elements<int8_t>(OneNode("Clip", x, bounds).run()[0]), (std::vector<int8_t>{1, 1, 1}));
}

TEST(Clip, UpgradeMovesTheBoundsToOperands) {
  OneNode clip("Clip", list_of<float>({-2, 0.5f, 9}), {}, {{"max", 6.0f}}, 9);
  upgrade_opset(clip.graph, 13);
  verify(clip.graph);
  const Node& node = clip.graph.node(clip.graph.order()[0]);
  EXPECT_TRUE(node.attributes.empty());
  EXPECT_FALSE(node.has_input(1));
  EXPECT_TRUE(node.has_input(2));
  EXPECT_EQ(floats(clip.run()[0]), (std::vector<float>{-2, 0.5f, 6}));
}

TEST(Dropout, PassesThroughWithAMaskOfTrue) {
  const std::vector<Tensor> y = OneNode("Dropout", counting({3}), {}, {}, 13, 2).run();
  EXPECT_EQ(floats(y[0]), (std::vector<float>{0, 1, 2}));
  EXPECT_EQ(elements<bool>(y[1]), (std::vector<bool>{true, true, true}));
}

TEST(Dropout, TrainingIsUnsupported) {
  const Tensor ratio = Tensor::scalar(0.5f), training({}, std::vector<bool>{true});
  const OneNode dropout("Dropout", counting({3}), {ratio, training}, {}, 13);
  EXPECT_THROW(dropout.run(), Error);
}

TEST(Dropout, UpgradeMakesTheRatioAnOperand) {
  OneNode dropout("Dropout", counting({3}), {}, {{"ratio", 0.25f}}, 11);
  upgrade_opset(dropout.graph, 13);
  const Node& node = dropout.graph.node(dropout.graph.order()[0]);
  EXPECT_EQ(floats(*dropout.graph.constant(node.inputs[1])), (std::vector<float>{0.25f}));
  EXPECT_EQ(floats(dropout.run()[0]), (std::vector<float>{0, 1, 2}));
}

// -- Casts -----------------------------------------------------------------------

/// TensorProto.DataType numbers.
constexpr int64_t kFloatCode = 1, kInt8Code = 3, kInt64Code = 7, kStringCode = 8, kInt4Code = 22,
                  kUInt4Code = 21, kFloat8Code = 17;

Tensor cast_to(const Tensor& x, int64_t code) {
  return OneNode("Cast", x, {}, {{"to", code}}, 21).run()[0];
}

TEST(Cast, FloatToIntegerTruncatesAndSaturates) {
  const Tensor y = cast_to(list_of<float>({2.9f, -2.9f, 1e9f, -1e9f, kNan}), kInt8Code);
  EXPECT_EQ(elements<int8_t>(y), (std::vector<int8_t>{2, -2, 127, -128, 0}));
}

TEST(Cast, ToFourBitsKeepsTheLowBits) {
  const Tensor x = list_of<float>({-9, -1, 7, 8, 15});
  EXPECT_EQ(elements<int8_t>(cast_to(x, kInt4Code)), (std::vector<int8_t>{7, -1, 7, -8, -1}));
  EXPECT_EQ(elements<uint8_t>(cast_to(x, kUInt4Code)), (std::vector<uint8_t>{7, 15, 7, 8, 15}));
}

TEST(Cast, ReadsAndWritesStrings) {
  EXPECT_EQ(cast_to(list_of<float>({0.1f, -kInfinity, kNan, 3}), kStringCode).strings(),
            (std::vector<std::string>{"0.1", "-INF", "NaN", "3"}));
  EXPECT_EQ(floats(cast_to(strings_of({"1e-3", "+2.5", "-inf"}), kFloatCode)),
            (std::vector<float>{1e-3f, 2.5f, -kInfinity}));
  EXPECT_EQ(elements<int64_t>(cast_to(strings_of({"-42"}), kInt64Code)),
            (std::vector<int64_t>{-42}));
  EXPECT_THROW(cast_to(strings_of({"4 2"}), kInt64Code), Error);
}

TEST(Cast, ToFloat8IsUnsupported) {
  try {
    cast_to(counting({2}), kFloat8Code);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUnsupported);
  }
}

// -- Makers of values ------------------------------------------------------------

std::vector<int64_t> range(int64_t start, int64_t limit, int64_t delta) {
  const OneNode node("Range", Tensor::scalar(start),
                     {Tensor::scalar(limit), Tensor::scalar(delta)});
  return elements<int64_t>(node.run()[0]);
}

TEST(Range, CountsUpAndDown) {
  EXPECT_EQ(range(1, 8, 3), (std::vector<int64_t>{1, 4, 7}));
  EXPECT_EQ(range(5, 0, -2), (std::vector<int64_t>{5, 3, 1}));
  EXPECT_TRUE(range(3, 3, 1).empty());
  EXPECT_TRUE(range(3, 5, -1).empty());
  EXPECT_EQ(range(INT64_MAX - 1, INT64_MAX, 1), (std::vector<int64_t>{INT64_MAX - 1}));
}

TEST(Range, WithoutStepOrEndIsAnError) {
  EXPECT_THROW(range(0, 5, 0), Error);
  EXPECT_THROW(range(INT64_MIN, INT64_MAX, 1), Error);
}

TEST(ConstantOfShape, FillsAndRejectsNegativeExtents) {
  const auto value = std::make_shared<const Tensor>(Tensor({1}, std::vector<int32_t>{7}));
  const Attributes attributes = {{"value", TensorRef(value)}};
  const Tensor y = OneNode("ConstantOfShape", list_of<int64_t>({2, 2}), {}, attributes).run()[0];
  EXPECT_EQ(elements<int32_t>(y), (std::vector<int32_t>{7, 7, 7, 7}));
  EXPECT_THROW(OneNode("ConstantOfShape", list_of<int64_t>({-1})).run(), Error);
}

TEST(EyeLike, ShiftsTheDiagonal) {
  const Tensor y = OneNode("EyeLike", counting({2, 3}), {}, {{"k", int64_t{1}}}).run()[0];
  EXPECT_EQ(floats(y), (std::vector<float>{0, 1, 0, 0, 0, 1}));
}

TEST(Constant, TakesEveryFormOfValue) {
  const auto made = [](Attributes attributes) {
    Graph graph(onnx_ops());
    graph.set_opset("", 17);
    graph.set_outputs({graph.add_node("Constant", {}, std::move(attributes))});
    return execute(graph, {})[0];
  };
  EXPECT_EQ(to_string(made({{"value_int", int64_t{5}}}).type()), "i64[]");
  EXPECT_EQ(to_string(made({{"value_float", 5.0f}}).type()), "f32[]");
  EXPECT_EQ(to_string(made({{"value_ints", std::vector<int64_t>{5, 6}}}).type()), "i64[2]");
  EXPECT_EQ(made({{"value_strings", std::vector<std::string>{"a"}}}).strings()[0], "a");
  EXPECT_THROW(made({}), Error);
}

}  // namespace
}  // namespace pare
