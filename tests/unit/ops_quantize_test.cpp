// Operators that quantize or work on quantized tensors. Expected numbers that are not obvious come
// from ONNX Runtime.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "unit/one_node.h"

namespace pare {
namespace {

using I8 = std::vector<int8_t>;
using U8 = std::vector<uint8_t>;

template <typename T>
std::vector<T> elements(const Tensor& tensor) {
  return {tensor.data<T>().begin(), tensor.data<T>().end()};
}

template <typename T>
Tensor scalar(T value) {
  return Tensor::scalar(value);
}

Tensor ints(const std::vector<int32_t>& values, DType dtype, Shape shape) {
  return cast(list_of(values), dtype).reshaped(std::move(shape));
}

/// Runs a node of com.microsoft on constants.
Tensor contrib(const std::string& op, const std::vector<Tensor>& operands,
               Attributes attributes = {}) {
  Node node;
  node.op = op;
  node.domain = "com.microsoft";
  node.def = onnx_ops().find(node.domain, op);
  node.opset = 1;
  node.attributes = std::move(attributes);
  node.outputs.resize(1);
  std::vector<const Tensor*> pointers;
  for (const Tensor& tensor : operands) pointers.push_back(tensor.defined() ? &tensor : nullptr);
  return evaluate(node, pointers)[0];
}

// -- QuantizeLinear --------------------------------------------------------------

TEST(QuantizeLinear, TakesHalvesToEvenAndSaturates) {
  const Tensor x = list_of<float>({.125f, .375f, .625f, -.125f, -.375f, -.625f, 40, -40});
  const OneNode node("QuantizeLinear", x, {scalar(.25f), scalar(int8_t{3})});
  EXPECT_EQ(elements<int8_t>(node.run()[0]), (I8{3, 5, 5, 3, 1, 1, 127, -128}));
}

TEST(QuantizeLinear, InfinitiesSaturateAndNanIsTheLowestNumber) {
  const Tensor x = list_of<float>({INFINITY, -INFINITY, NAN, 1e30f});
  const OneNode node("QuantizeLinear", x, {scalar(.25f), scalar(uint8_t{7})});
  EXPECT_EQ(elements<uint8_t>(node.run()[0]), (U8{255, 0, 0, 255}));
}

TEST(QuantizeLinear, RoundsLikeNearbyintOverTheWholeRange) {
  std::vector<float> values;
  for (int i = -140 * 8; i <= 140 * 8; ++i) values.push_back(static_cast<float>(i) / 8);
  const OneNode node("QuantizeLinear", list_of(values), {scalar(1.0f), scalar(int8_t{-5})});
  const Tensor y = node.run()[0];
  for (size_t i = 0; i < values.size(); ++i) {
    const float expected = std::clamp(std::nearbyint(values[i]) - 5, -128.0f, 127.0f);
    ASSERT_EQ(y.data<int8_t>()[i], expected) << values[i];
  }
}

TEST(QuantizeLinear, WithoutZeroPointMakesUint8OrWhatIsAskedFor) {
  const Tensor x = list_of<float>({-1, 1.6f, 300});
  EXPECT_EQ(elements<uint8_t>(OneNode("QuantizeLinear", x, {scalar(1.0f)}).run()[0]),
            (U8{0, 2, 255}));
  constexpr int64_t kInt16Code = 5;
  const OneNode wide("QuantizeLinear", x, {scalar(1.0f)}, {{"output_dtype", kInt16Code}}, 21);
  EXPECT_EQ(elements<int16_t>(wide.run()[0]), (std::vector<int16_t>{-1, 2, 300}));
}

TEST(QuantizeLinear, ScalesAlongAnAxis) {
  const Tensor x({2, 2, 2}, std::vector<float>{1, 2, 3, 4, 5, 6, 7, 8});
  const Tensor scale = list_of<float>({1, 2}), zero = list_of<int8_t>({0, 10});
  const auto run = [&](int64_t axis) {
    return elements<int8_t>(OneNode("QuantizeLinear", x, {scale, zero}, {{"axis", axis}}).run()[0]);
  };
  EXPECT_EQ(run(1), (I8{1, 2, 12, 12, 5, 6, 14, 14}));
  EXPECT_EQ(run(-1), (I8{1, 11, 3, 12, 5, 13, 7, 14}));
  EXPECT_EQ(run(0), (I8{1, 2, 3, 4, 12, 13, 14, 14}));
}

TEST(QuantizeLinear, ScalesInBlocksOfWhichTheLastIsShort) {
  const Tensor x({3, 2}, std::vector<float>{1, 2, 3, 4, 5, 6});
  const Tensor scale({2, 2}, std::vector<float>{1, 2, 5, 3});
  const Tensor zero({2, 2}, I8{0, 1, 2, -1});
  const Attributes blocks = {{"axis", int64_t{0}}, {"block_size", int64_t{2}}};
  const OneNode node("QuantizeLinear", x, {scale, zero}, blocks, 21);
  EXPECT_EQ(elements<int8_t>(node.run()[0]), (I8{1, 2, 3, 3, 3, 1}));
}

TEST(QuantizeLinear, FourBitsSaturateToFour) {
  const Tensor zero = ints({1}, DType::kI4, {});
  const OneNode node("QuantizeLinear", list_of<float>({-20, -1, 3, 20}), {scalar(1.0f), zero}, {},
                     21);
  const Tensor y = node.run()[0];
  EXPECT_EQ(y.dtype(), DType::kI4);
  EXPECT_EQ(elements<int8_t>(y), (I8{-8, 0, 4, 7}));
}

TEST(QuantizeLinear, HalfScalesAndOperands) {
  const Tensor x = cast(list_of<float>({1, -2}), DType::kF16);
  const Tensor scale = cast(scalar(.5f), DType::kF16);
  const Tensor q = OneNode("QuantizeLinear", x, {scale, scalar(int8_t{1})}, {}, 19).run()[0];
  EXPECT_EQ(elements<int8_t>(q), (I8{3, -3}));
  const Tensor y = OneNode("DequantizeLinear", q, {scale, scalar(int8_t{1})}, {}, 19).run()[0];
  EXPECT_TRUE(identical(y, x));
}

TEST(QuantizeLinear, AScaleThatDoesNotFitIsNamed) {
  try {
    const OneNode node("QuantizeLinear", counting({2, 3}), {list_of<float>({1, 2})});
    FAIL() << to_string(node.type());
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "node 'n' (QuantizeLinear): scale [2] does not fit operand [2,3], expected a "
                 "scalar or [3] for axis 1");
  }
}

TEST(DequantizeLinear, SubtractsTheZeroPointOfEachIndex) {
  const Tensor q({2, 2}, U8{0, 128, 255, 3});
  const OneNode node("DequantizeLinear", q, {list_of<float>({.5f, 2}), list_of<uint8_t>({128, 3})},
                     {{"axis", int64_t{-1}}});
  EXPECT_EQ(floats(node.run()[0]), (std::vector<float>{-64, 250, 63.5f, 0}));
}

TEST(DequantizeLinear, TakesInt32Biases) {
  const OneNode node("DequantizeLinear", list_of<int32_t>({INT32_MIN, -3, 1000000}), {scalar(.5f)});
  EXPECT_EQ(floats(node.run()[0]), (std::vector<float>{-1073741824.0f, -1.5f, 500000}));
}

TEST(DequantizeLinear, OfFloat8IsUnsupported) {
  const Tensor q(DType::kF8E4M3FN, {2});
  const OneNode node("DequantizeLinear", q, {scalar(1.0f)}, {}, 19);
  try {
    node.run();
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUnsupported);
  }
}

TEST(DynamicQuantizeLinear, FindsScaleAndZeroPoint) {
  const OneNode node("DynamicQuantizeLinear", list_of<float>({0, 2, -3, -2.5f, 1.34f, .5f}), {}, {},
                     17, 3);
  const std::vector<Tensor> y = node.run();
  EXPECT_EQ(elements<uint8_t>(y[0]), (U8{153, 255, 0, 26, 221, 179}));
  EXPECT_FLOAT_EQ(floats(y[1])[0], 5.0f / 255);
  EXPECT_EQ(elements<uint8_t>(y[2]), (U8{153}));
}

// -- Products --------------------------------------------------------------------

TEST(QLinearConv, RescalesPerFilterAndPadsWithTheZeroPoint) {
  std::vector<int32_t> pixels(9);
  for (int i = 0; i < 9; ++i) pixels[static_cast<size_t>(i)] = 20 * i;
  const std::vector<Tensor> rest = {scalar(.1f),
                                    scalar(uint8_t{40}),
                                    ints({1, -2, 3, 4, -5, 6, 7, 100}, DType::kI8, {2, 1, 2, 2}),
                                    list_of<float>({.05f, .1f}),
                                    list_of<int8_t>({0, 0}),
                                    scalar(.25f),
                                    scalar(uint8_t{90}),
                                    list_of<int32_t>({100, -300})};
  const OneNode node("QLinearConv", ints(pixels, DType::kU8, {1, 1, 3, 3}), rest,
                     {{"pads", std::vector<int64_t>{1, 0, 0, 1}}});
  EXPECT_EQ(elements<uint8_t>(node.run()[0]), (U8{88, 91, 92, 96, 99, 96, 104, 106, 100,  //
                                                  0, 72, 78, 247, 255, 95, 255, 255, 100}));
}

TEST(ConvInteger, SumsThatFloatCannotHoldAreExact) {
  // 2^24 is what float counts to; these sums are ten times that, and odd.
  constexpr int64_t kChannels = 301;
  Tensor x(DType::kU8, {1, kChannels, 3, 3}), w(DType::kU8, {1, kChannels, 3, 3});
  for (uint8_t& q : x.mutable_data<uint8_t>()) q = 255;
  for (uint8_t& q : w.mutable_data<uint8_t>()) q = 255;
  const Tensor y = OneNode("ConvInteger", x, {w}).run()[0];
  EXPECT_EQ(elements<int32_t>(y), (std::vector<int32_t>{255 * 255 * 9 * kChannels}));
}

TEST(MatMulInteger, TakesZeroPointsPerRowAndPerColumn) {
  const Tensor a({2, 2}, U8{11, 7, 3, 10}), b({2, 2}, I8{1, 4, 2, -5});
  const OneNode node("MatMulInteger", a, {b, list_of<uint8_t>({12, 0}), list_of<int8_t>({0, 1})});
  EXPECT_EQ(elements<int32_t>(node.run()[0]), (std::vector<int32_t>{-11, 27, 23, -51}));
}

TEST(MatMulInteger, LongSumsAreExact) {
  Tensor a(DType::kU8, {1, 70001}), b(DType::kU8, {70001, 1});
  for (uint8_t& q : a.mutable_data<uint8_t>()) q = 175;
  for (uint8_t& q : b.mutable_data<uint8_t>()) q = 175;
  EXPECT_EQ(elements<int32_t>(OneNode("MatMulInteger", a, {b}).run()[0]),
            (std::vector<int32_t>{175 * 175 * 70001}));
}

TEST(QLinearMatMul, MatchesTheExampleOfTheStandard) {
  const Tensor a = ints({208, 236, 0, 238, 3, 214, 255, 29}, DType::kU8, {2, 4});
  const Tensor b =
      ints({152, 51, 244, 60, 26, 255, 0, 127, 246, 127, 254, 247}, DType::kU8, {4, 3});
  const OneNode node("QLinearMatMul", a,
                     {scalar(.0066f), scalar(uint8_t{113}), b, scalar(.00705f),
                      scalar(uint8_t{114}), scalar(.0107f), scalar(uint8_t{118})});
  EXPECT_EQ(elements<uint8_t>(node.run()[0]), (U8{168, 115, 255, 1, 66, 151}));
}

TEST(QGemm, AddsItsBiasAndRescalesOrStaysFloat) {
  std::vector<Tensor> operands = {ints({1, 2, 3, 4, 5, 250}, DType::kU8, {2, 3}),
                                  scalar(.02f),
                                  scalar(uint8_t{3}),
                                  ints({1, -2, 3, -4, -5, 127}, DType::kI8, {3, 2}),
                                  list_of<float>({.1f, .2f}),
                                  list_of<int8_t>({0, 0}),
                                  list_of<int32_t>({10, -20})};
  const Attributes twice = {{"alpha", 2.0f}};
  const std::vector<float> y = floats(contrib("QGemm", operands, twice));
  const float expected[] = {.02f, -.096f, -4.872f, 250.712f};
  for (size_t i = 0; i < 4; ++i) EXPECT_NEAR(y[i], expected[i], 1e-4);
  operands.push_back(scalar(.5f));
  operands.push_back(scalar(uint8_t{100}));
  EXPECT_EQ(elements<uint8_t>(contrib("QGemm", operands, twice)), (U8{100, 100, 90, 255}));
}

TEST(QLinearMatMul, AZeroPointOfTheWrongLengthIsAnError) {
  const Tensor a(DType::kU8, {2, 4}), b(DType::kU8, {4, 3});
  const OneNode node("QLinearMatMul", a,
                     {scalar(1.0f), scalar(uint8_t{0}), b, list_of<float>({1, 1}),
                      list_of<uint8_t>({0, 0}), scalar(1.0f), scalar(uint8_t{0})});
  EXPECT_THROW(node.run(), Error);
}

// -- Element by element ----------------------------------------------------------

TEST(QLinearAdd, RoundsHalvesWithTheZeroPointAdded) {
  const Tensor y =
      contrib("QLinearAdd", {list_of<int8_t>({1, 2, 3, 4, 5, -128}), scalar(.5f), scalar(int8_t{1}),
                             list_of<int8_t>({2, 2, 3, 3, 4, 127}), scalar(.25f), scalar(int8_t{0}),
                             scalar(.5f), scalar(int8_t{1})});
  EXPECT_EQ(elements<int8_t>(y), (I8{2, 3, 4, 6, 7, -64}));
}

TEST(QLinearMul, BroadcastsAndSaturates) {
  const Tensor y = contrib("QLinearMul", {list_of<uint8_t>({1, 2, 3, 4, 5, 200}), scalar(.5f),
                                          scalar(uint8_t{1}), list_of<uint8_t>({3}), scalar(.25f),
                                          Tensor(), scalar(.25f), scalar(uint8_t{7})});
  EXPECT_EQ(elements<uint8_t>(y), (U8{7, 8, 10, 12, 13, 255}));
}

TEST(QLinearActivations, LookUpEveryByte) {
  const Tensor x = list_of<int8_t>({-128, -40, 0, 40, 127});
  const Tensor leaky = contrib(
      "QLinearLeakyRelu", {x, scalar(.05f), scalar(int8_t{10}), scalar(.05f), scalar(int8_t{-20})},
      {{"alpha", .1f}});
  EXPECT_EQ(elements<int8_t>(leaky), (I8{-34, -25, -21, 10, 97}));
  const Tensor sigmoid = contrib("QLinearSigmoid", {x, scalar(.05f), scalar(int8_t{10}),
                                                    scalar(1.0f / 256), scalar(int8_t{-128})});
  EXPECT_EQ(elements<int8_t>(sigmoid), (I8{-128, -109, -31, 81, 127}));
}

TEST(QLinearConcat, BringsItsOperandsToOneScale) {
  const Tensor y =
      contrib("QLinearConcat",
              {scalar(.1f), scalar(uint8_t{3}), Tensor({1, 3}, U8{0, 5, 255}), scalar(.25f),
               scalar(uint8_t{5}), Tensor({1, 2}, U8{9, 10}), scalar(.05f), scalar(uint8_t{0})},
              {{"axis", int64_t{1}}});
  EXPECT_EQ(y.shape(), (Shape{1, 5}));
  EXPECT_EQ(elements<uint8_t>(y), (U8{0, 3, 255, 7, 8}));
}

TEST(QLinearPool, AveragesAndRescales) {
  const Tensor x({1, 2, 2, 2}, U8{1, 2, 3, 5, 200, 100, 0, 255});
  const Tensor global = contrib("QLinearGlobalAveragePool", {x, scalar(.5f), scalar(uint8_t{2}),
                                                             scalar(.25f), scalar(uint8_t{1})});
  EXPECT_EQ(elements<uint8_t>(global), (U8{3, 255}));
  const Tensor average = contrib("QLinearAveragePool",
                                 {Tensor({1, 1, 2, 2}, U8{1, 2, 3, 5}), scalar(.5f),
                                  scalar(uint8_t{2}), scalar(.25f), scalar(uint8_t{10})},
                                 {{"kernel_shape", std::vector<int64_t>{2, 2}},
                                  {"pads", std::vector<int64_t>{1, 1, 0, 0}},
                                  {"count_include_pad", int64_t{1}}});
  EXPECT_EQ(elements<uint8_t>(average), (U8{10, 10, 10, 12}));
}

TEST(QLinearAdd, ARequiredOperandLeftOutIsAnError) {
  EXPECT_THROW(contrib("QLinearAdd", {list_of<int8_t>({1}), scalar(.5f), scalar(int8_t{1}),
                                      list_of<int8_t>({2}), Tensor(), Tensor(), scalar(.5f)}),
               Error);
}

}  // namespace
}  // namespace pare
