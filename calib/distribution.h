#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

namespace pare {

/// How numbers are spread: extremes, moments, and counts in bins of equal width.
struct Distribution {
  double low = 0, high = 0, mean = 0, deviation = 0;
  double begin = 0, width = 0;   ///< Of the first bin; `width` of each.
  std::vector<uint64_t> counts;  ///< Empty where no finite number was seen.
};

/// Collects a Distribution in one pass over numbers whose range is not known beforehand: the bins
/// double their width, joined two by two, when a number lies outside. Counts and extremes are the
/// same in any order of observing and merging; moments differ by rounding. Not finite numbers are
/// passed over.
class DistributionObserver {
 public:
  void observe(std::span<const float> numbers);
  void merge(const DistributionObserver& other);
  /// With `bins` bins at most.
  Distribution distribution(size_t bins = 40) const;

 private:
  static constexpr size_t kBins = 512;

  void grow_to(int exponent);

  bool binned_ = false;  ///< Anything is counted.
  int exponent_ = -150;  ///< The bins share [-2^exponent_, 2^exponent_); smaller than any float.
  std::array<uint64_t, kBins> counts_{};
  double low_ = std::numeric_limits<double>::infinity();
  double high_ = -std::numeric_limits<double>::infinity();
  double count_ = 0, sum_ = 0, squares_ = 0;
};

}  // namespace pare
