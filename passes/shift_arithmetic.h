#pragma once

#include <cstdint>
#include <vector>

#include "ir/graph.h"
#include "tensor/tensor.h"

namespace pare {

// The arithmetic of hardware that multiplies integers and rescales by shifting: no floating-point
// number is computed with anywhere in this file's functions.

/// Numbers n * 2^exponent.
struct FixedPoint {
  Shape shape;
  std::vector<int32_t> numbers;
  int exponent = 0;
};

/// What happens to what a right shift drops.
enum class ShiftRounding : uint8_t {
  kHalfEven,  ///< To the nearest, halves to even: what QuantizeLinear says.
  kHalfUp,    ///< To the nearest, halves up: what DPUCZDX8G does.
};

/// n / 2^shift, or n * 2^-shift where `shift` is negative, rounded.
int64_t shifted(int64_t n, int shift, ShiftRounding rounding);

/// `x` at `exponent`, saturated to [low, high].
FixedPoint rescaled(const FixedPoint& x, int exponent, int32_t low, int32_t high,
                    ShiftRounding rounding);

/// Conv in 32-bit sums; `bias` may be null and is shifted to the sums' exponent. Throws
/// Error(kUnsupported) where a filter could overflow 32 bits, or the bias is finer than the sums.
FixedPoint convolve(const Node& conv, const FixedPoint& x, const FixedPoint& w,
                    const FixedPoint* bias);

/// A product of matrices [.., M, K] and [K, N] or [.., K, N], in 32-bit sums.
FixedPoint multiply_matrices(const FixedPoint& a, const FixedPoint& b);
/// With its two axes exchanged.
FixedPoint transposed(const FixedPoint& matrix);

/// `a` op `b` element by element as NumPy broadcasts, at the finer exponent of the two.
enum class Combine : uint8_t { kAdd, kSubtract, kLarger, kSmaller };
FixedPoint combined(Combine op, const FixedPoint& a, const FixedPoint& b);
/// The product, at the sum of the exponents.
FixedPoint multiplied(const FixedPoint& a, const FixedPoint& b);

/// The largest number of each window of a MaxPool.
FixedPoint max_pool(const Node& node, const FixedPoint& x);
/// `multiplier` times the sum of each window [N, C, H, W] of an AveragePool, or of all places of a
/// GlobalAveragePool, at exponent - `shift`.
FixedPoint sum_pool(const Node& node, const FixedPoint& x, int64_t multiplier, int shift);

}  // namespace pare
