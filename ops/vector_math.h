#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

namespace pare {

// Exponentials in float that a compiler turns into vector code: no branches, no calls. The double
// overloads are the standard library's.

/// e^x within 2 units in the last place; infinity above 88.73, NaN stays NaN.
///
/// e^x = 2^n e^r with n = round(x / ln 2) and |r| <= ln 2 / 2, where the Taylor polynomial of
/// degree 7 is off by less than 6e-9. 2^n is applied in two halves, so that neither leaves float's
/// range.
inline float fast_exp(float x) {
  constexpr float kLog2E = 1.44269504088896341f;
  constexpr float kLn2High = 0.693359375f;  // Few bits, so that n * kLn2High is exact.
  constexpr float kLn2Low = -2.12194440054690583e-4f;
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it leaves an integer in the low bits.
  const float limited = std::min(std::max(x, -104.0f), 89.0f);
  const float shifted = limited * kLog2E + kRound;
  const float n = shifted - kRound;
  const float r = (limited - n * kLn2High) - n * kLn2Low;
  float p = 1.0f / 5040;
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const int32_t exponent =
      static_cast<int32_t>(std::bit_cast<uint32_t>(shifted) - std::bit_cast<uint32_t>(kRound));
  const int32_t half = exponent >> 1;
  const auto power = [](int32_t e) {
    return std::bit_cast<float>(static_cast<uint32_t>(e + 127) << 23);
  };
  return p * power(half) * power(exponent - half);
}
inline double fast_exp(double x) { return std::exp(x); }

/// 1 / (1 + e^-x).
template <typename T>
T fast_sigmoid(T x) {
  return T{1} / (T{1} + fast_exp(-x));
}

/// tanh x within a few units in the last place: a polynomial near zero, where the quotient of
/// exponentials cancels.
inline float fast_tanh(float x) {
  const float e = fast_exp(-2.0f * std::fabs(x));
  const float quotient = std::copysign((1.0f - e) / (1.0f + e), x);
  const float s = x * x;
  float p = 62.0f / 2835;
  p = p * s - 17.0f / 315;
  p = p * s + 2.0f / 15;
  p = p * s - 1.0f / 3;
  p = p * s * x + x;
  return std::fabs(x) < 0.25f ? p : quotient;
}
inline double fast_tanh(double x) { return std::tanh(x); }

}  // namespace pare
