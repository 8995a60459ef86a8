#include "tensor/stored_tensor.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace pare {
namespace {

/// Bits of mantissa a float has more than a half, and the difference of their exponents' offsets.
constexpr uint32_t kMore = 13, kRebias = uint32_t{127 - 15} << 10;
constexpr uint32_t kSmallestHalf = 1u << 10;  ///< Below, halves lose precision; zero here.
/// Exponent of the largest element once it is scaled; a half's goes to 15.
constexpr int kTop = 14;
/// Elements are scaled by no more than 2^120, which stays finite.
constexpr int kSmallest = -106;

uint16_t pack(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x), magnitude = bits & 0x7fffffffu;
  const uint32_t rounded = (magnitude + 0xfffu + ((magnitude >> kMore) & 1u)) >> kMore;
  const uint32_t half = rounded < kRebias + kSmallestHalf ? 0 : rounded - kRebias;
  return static_cast<uint16_t>(half | ((bits >> 16) & 0x8000u));
}

float unpack(uint16_t half) {
  const uint32_t magnitude = half & 0x7fffu;
  const uint32_t bits = magnitude < kSmallestHalf ? 0 : (magnitude + kRebias) << kMore;
  return std::bit_cast<float>(bits | (static_cast<uint32_t>(half & 0x8000u) << 16));
}

}  // namespace

StoredTensor StoredTensor::exact(Tensor tensor) {
  StoredTensor stored;
  stored.shape_ = tensor.shape();
  stored.exact_ = std::move(tensor);
  return stored;
}

StoredTensor StoredTensor::packed(const Tensor& tensor) {
  if (tensor.dtype() != DType::kF32) return exact(tensor);
  const std::span<const float> elements = tensor.data<float>();
  float largest = 0;
  bool finite = true;
  for (float x : elements) {
    finite &= std::abs(x) <= std::numeric_limits<float>::max();
    largest = std::max(largest, std::abs(x));
  }
  if (!finite || elements.empty()) return exact(tensor);
  const int shift = largest > 0 ? kTop - std::max(kSmallest, std::ilogb(largest)) : 0;
  const float scale = std::ldexp(1.0f, shift);
  StoredTensor stored;
  stored.shape_ = tensor.shape();
  stored.unit_ = std::ldexp(1.0f, -shift);
  stored.halves_ = Tensor::uninitialized(DType::kU16, tensor.shape());
  const std::span<uint16_t> halves = stored.halves_.mutable_data<uint16_t>();
  for (size_t i = 0; i < halves.size(); ++i) halves[i] = pack(scale * elements[i]);
  return stored;
}

Tensor StoredTensor::tensor() const {
  if (!halves_.defined()) return exact_;
  const std::span<const uint16_t> halves = halves_.data<uint16_t>();
  Tensor tensor = Tensor::uninitialized(DType::kF32, shape_);
  const std::span<float> elements = tensor.mutable_data<float>();
  for (size_t i = 0; i < elements.size(); ++i) elements[i] = unit_ * unpack(halves[i]);
  return tensor;
}

}  // namespace pare
