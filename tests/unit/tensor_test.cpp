#include "tensor/tensor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tensor/gemm.h"
#include "tensor/stored_tensor.h"

namespace pare {
namespace {

TEST(Tensor, CopyOnWriteLeavesTheOtherCopyAlone) {
  Tensor a({2}, std::vector<float>{1, 2});
  const Tensor b = a;
  a.mutable_data<float>()[0] = 9;
  EXPECT_EQ(b.data<float>()[0], 1.0f);
  EXPECT_EQ(a.data<float>()[0], 9.0f);
}

TEST(Tensor, ViewIsCopiedBeforeItIsWritten) {
  auto owner = std::make_shared<std::vector<float>>(std::vector<float>{1, 2});
  Tensor view = Tensor::view(DType::kF32, {2}, owner, std::as_bytes(std::span(*owner)));
  view.mutable_data<float>()[0] = 9;
  EXPECT_EQ((*owner)[0], 1.0f);
}

TEST(Tensor, ReadingAnotherTypeIsABug) {
  const Tensor a({1}, std::vector<float>{1});
  EXPECT_THROW((void)a.data<int32_t>(), Error);
}

TEST(Tensor, CastSaturatesAndMapsNanToZero) {
  const float inf = std::numeric_limits<float>::infinity();
  const Tensor from({5}, std::vector<float>{-1.9f, 300, inf, -inf, std::nanf("")});
  const Tensor to = cast(from, DType::kI8);
  EXPECT_EQ(to_int64(to), (std::vector<int64_t>{-1, 127, 127, -128, 0}));
}

TEST(StoredTensor, PackedElementsAreOffByHalfAStepOfElevenBitsAtTheMost) {
  for (const float scale : {1e-30f, 1.0f, 3e5f, 1e38f}) {
    std::vector<float> values = {0, -1, 1, 0.3f, -2.7182817f, 1.0009766f, 0.0001f};
    for (float& value : values) value *= scale;
    const Tensor tensor({7}, values);
    const Tensor back = StoredTensor::packed(tensor).tensor();
    ASSERT_EQ(back.shape(), tensor.shape());
    for (size_t i = 0; i < values.size(); ++i)
      EXPECT_NEAR(back.data<float>()[i], values[i], std::abs(values[i]) / 2048) << scale;
  }
}

TEST(StoredTensor, WhatIsTinyBesideTheLargestElementBecomesZero) {
  const Tensor tensor({3}, std::vector<float>{1, 1e-8f, 1e-12f});
  const Tensor back = StoredTensor::packed(tensor).tensor();
  EXPECT_NEAR(back.data<float>()[1], 1e-8f, 1e-11f);
  EXPECT_EQ(back.data<float>()[2], 0);
}

TEST(StoredTensor, WhatHasNoHalfStaysAsItIs) {
  const Tensor endless({2}, std::vector<float>{1.0001f, std::numeric_limits<float>::infinity()});
  const Tensor integers({2}, std::vector<int64_t>{int64_t{1} << 40, 3});
  const Tensor empty(DType::kF32, {0, 4});
  for (const Tensor& tensor : {endless, integers, empty})
    EXPECT_TRUE(identical(StoredTensor::packed(tensor).tensor(), tensor));
}

TEST(Tensor, ElementCountRejectsOverflow) {
  EXPECT_THROW((void)element_count({int64_t{1} << 40, int64_t{1} << 40}), Error);
}

TEST(Tensor, GatherKeepsSlicesInTheGivenOrder) {
  const Tensor x({2, 3}, std::vector<int32_t>{0, 1, 2, 3, 4, 5});
  EXPECT_EQ(to_int64(gather(x, 1, {2, 0})), (std::vector<int64_t>{2, 0, 5, 3}));
  EXPECT_EQ(gather(x, 0, {1}).shape(), (Shape{1, 3}));
}

TEST(Float16, EveryPatternSurvivesTheWayThroughFloat) {
  for (uint32_t bits = 0; bits < 0x10000u; ++bits) {
    Float16 half;
    half.bits = static_cast<uint16_t>(bits);
    const auto value = static_cast<float>(half);
    if (std::isnan(value)) continue;
    ASSERT_EQ(Float16(value).bits, half.bits) << bits;
  }
}

TEST(Float16, RoundsHalfToEvenAndOverflowsToInfinity) {
  EXPECT_EQ(static_cast<float>(Float16(2049.0f)), 2048.0f);
  EXPECT_EQ(static_cast<float>(Float16(2051.0f)), 2052.0f);
  EXPECT_EQ(static_cast<float>(Float16(65519.0f)), 65504.0f);
  EXPECT_TRUE(std::isinf(static_cast<float>(Float16(65520.0f))));
  EXPECT_EQ(static_cast<float>(Float16(std::ldexp(1.0f, -24))), std::ldexp(1.0f, -24));
  EXPECT_EQ(static_cast<float>(Float16(std::ldexp(1.0f, -25))), 0.0f);
}

TEST(BFloat16, RoundsHalfToEven) {
  EXPECT_EQ(static_cast<float>(BFloat16(257.0f)), 256.0f);
  EXPECT_EQ(static_cast<float>(BFloat16(259.0f)), 260.0f);
}

TEST(Gemm, MultipliesEveryCombinationOfTransposes) {
  // [[1,2,3],[4,5,6]] * [[1,0],[0,1],[1,1]] = [[4,5],[10,11]]
  const std::vector<float> a{1, 2, 3, 4, 5, 6}, at{1, 4, 2, 5, 3, 6};
  const std::vector<float> b{1, 0, 0, 1, 1, 1}, bt{1, 0, 1, 0, 1, 1};
  const std::vector<float> expected{4, 5, 10, 11};
  for (const Transpose ta : {Transpose::kNo, Transpose::kYes}) {
    for (const Transpose tb : {Transpose::kNo, Transpose::kYes}) {
      std::vector<float> c(4, 1);
      gemm(ta, tb, 2, 2, 3, (ta == Transpose::kYes ? at : a).data(), ta == Transpose::kYes ? 2 : 3,
           (tb == Transpose::kYes ? bt : b).data(), tb == Transpose::kYes ? 3 : 2, 0.0f, c.data(),
           2);
      EXPECT_EQ(c, expected);
    }
  }
}

}  // namespace
}  // namespace pare
