#pragma once

#include <cmath>
#include <cstdint>

namespace pare {

/// Mean and standardizing factor of a run of elements, as normalization ops use them.
struct Moments {
  double mean = 0;
  double inverse_deviation = 0;  ///< 1 / sqrt(variance + epsilon), population variance.
};

/// Over `count` elements; two passes in double, so that a large mean costs no precision.
template <typename T>
Moments moments(const T* x, int64_t count, double epsilon) {
  double sum = 0, squares = 0;
  for (int64_t i = 0; i < count; ++i) sum += static_cast<double>(x[i]);
  const double mean = sum / static_cast<double>(count);
  for (int64_t i = 0; i < count; ++i) {
    const double centred = static_cast<double>(x[i]) - mean;
    squares += centred * centred;
  }
  return {mean, 1 / std::sqrt(squares / static_cast<double>(count) + epsilon)};
}

}  // namespace pare
