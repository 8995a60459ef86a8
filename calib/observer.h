#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

namespace pare {

/// A real interval; what an integer tensor has to represent.
struct Range {
  float low = 0;
  float high = 0;
  bool operator==(const Range&) const = default;
};

/// Smallest and largest finite element seen. Merging in any order gives the same.
class MinMaxObserver {
 public:
  void observe(std::span<const float> data);
  void merge(const MinMaxObserver& other);
  /// False until a finite element was seen.
  bool seen() const { return low_ <= high_; }
  /// Elements that were infinite or no number.
  int64_t not_finite() const { return not_finite_; }
  Range range() const { return {low_, high_}; }

 private:
  float low_ = std::numeric_limits<float>::infinity();
  float high_ = -std::numeric_limits<float>::infinity();
  int64_t not_finite_ = 0;
};

/// Counts of elements in bins of equal width over a range known beforehand; what lies outside or is
/// not finite is not counted. Merging in any order gives the same.
class HistogramObserver {
 public:
  static constexpr size_t kBins = 2048;

  explicit HistogramObserver(Range range) : range_(range) {}
  void observe(std::span<const float> data);
  void merge(const HistogramObserver& other);
  /// Adds `count` elements to bin `i`.
  void add(size_t i, uint64_t count) { counts_[i] += count; }

  Range range() const { return range_; }
  const std::array<uint64_t, kBins>& counts() const { return counts_; }
  /// Middle of bin `i`.
  double center(size_t i) const;

 private:
  Range range_;
  std::array<uint64_t, kBins> counts_{};
};

/// The smallest interval of whole bins around that leaves out a share `1 - keep` of the elements at
/// most, half of it on either side.
Range percentile_range(const HistogramObserver& histogram, double keep);

/// The interval [a low, b high], 0 < a, b <= 1, whose `levels` steps give the least mean squared
/// error: step^2 / 12 for an element inside, the squared distance to the border for one outside.
Range least_squares_range(const HistogramObserver& histogram, int levels);

/// The interval of that kind with the least Kullback-Leibler divergence of the quantized
/// distribution from the observed one (the calibration of TensorRT: Migacz, GTC 2017).
Range entropy_range(const HistogramObserver& histogram, int levels);

}  // namespace pare
