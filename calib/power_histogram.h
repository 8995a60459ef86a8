#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "calib/observer.h"

namespace pare {

/// Counts of elements whose range is not known beforehand: bins over [-2^e, 2^e), e growing with
/// the elements. Bins of the next power are pairs of these, so observing and merging in any order
/// gives the same.
class PowerHistogram {
 public:
  /// Counts the finite elements, and shows all of them to `extremes` while they are in the cache.
  void observe(std::span<const float> data, MinMaxObserver& extremes);
  void merge(const PowerHistogram& other);
  /// The counts in bins of equal width over `range`; those of a bin across an edge are split by
  /// their share of its width.
  HistogramObserver over(Range range) const;

 private:
  static constexpr int kBitsPerSide = 14;
  static constexpr size_t kMiddle = size_t{1} << kBitsPerSide;  ///< The first bin from zero up.
  static constexpr size_t kBins = 2 * kMiddle;
  static constexpr size_t kLanes = 16;  ///< Elements of a step of the vectorised loop.

  /// Makes the bins reach 2^exponent, for a number that is not zero.
  void grow(int exponent);
  void count(std::span<const float> finite);

  /// The least: the scale of a lesser one would be no float.
  int exponent_ = kBitsPerSide - std::numeric_limits<float>::max_exponent + 1;
  bool binned_ = false;  ///< Anything but zeros was counted.
  /// By bin. Many elements are zero, and counting all in one place would wait for each addition, so
  /// zeros have a place for every lane, behind the bins.
  std::vector<uint64_t> counts_;
};

}  // namespace pare
