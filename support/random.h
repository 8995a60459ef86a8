#pragma once

#include <cstdint>

namespace pare {

/// A stream of random numbers, the same everywhere for a seed. Source: Marsaglia, "Xorshift RNGs",
/// Journal of Statistical Software 8(14), 2003.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(0x9e3779b97f4a7c15ull * (seed + 1)) {}

  uint64_t next() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return state_;
  }
  /// In [0, 1).
  double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }
  /// 1 or -1.
  float sign() { return (next() & (1u << 20)) != 0 ? 1.0f : -1.0f; }

 private:
  uint64_t state_;
};

}  // namespace pare
