#include "calib/distribution.h"

#include <algorithm>
#include <cmath>

namespace pare {

void DistributionObserver::observe(std::span<const float> numbers) {
  double largest = 0;
  for (const float number : numbers) {
    if (!std::isfinite(number)) continue;
    const auto x = static_cast<double>(number);
    low_ = std::min(low_, x);
    high_ = std::max(high_, x);
    largest = std::max(largest, std::abs(x));
    ++count_;
    sum_ += x;
    squares_ += x * x;
  }
  if (largest > 0) grow_to(std::ilogb(largest) + 1);
  const double bins_per_unit = std::ldexp(kBins / 2.0, -exponent_);
  for (const float number : numbers) {
    if (!std::isfinite(number)) continue;
    const double place = static_cast<double>(number) * bins_per_unit + kBins / 2.0;
    ++counts_[std::min(static_cast<size_t>(place), kBins - 1)];
  }
  binned_ = binned_ || count_ > 0;
}

void DistributionObserver::grow_to(int exponent) {
  if (!binned_) exponent_ = std::max(exponent_, exponent);
  for (; exponent_ < exponent; ++exponent_) {
    // A bin of the doubled range is two of the old one, from the middle outwards.
    std::array<uint64_t, kBins> wider{};
    for (size_t i = 0; i < kBins; ++i) wider[kBins / 4 + i / 2] += counts_[i];
    counts_ = wider;
  }
}

void DistributionObserver::merge(const DistributionObserver& other) {
  if (!other.binned_) return;
  grow_to(other.exponent_);
  DistributionObserver same = other;
  same.grow_to(exponent_);
  for (size_t i = 0; i < kBins; ++i) counts_[i] += same.counts_[i];
  binned_ = true;
  low_ = std::min(low_, other.low_);
  high_ = std::max(high_, other.high_);
  count_ += other.count_;
  sum_ += other.sum_;
  squares_ += other.squares_;
}

Distribution DistributionObserver::distribution(size_t bins) const {
  if (count_ == 0) return {};
  Distribution result{.low = low_, .high = high_, .mean = sum_ / count_};
  result.deviation = std::sqrt(std::max(0.0, squares_ / count_ - result.mean * result.mean));
  size_t first = 0, last = kBins - 1;
  while (first < last && counts_[first] == 0) ++first;
  while (last > first && counts_[last] == 0) --last;
  const size_t joined = (last - first) / bins + 1;
  const double width = std::ldexp(2.0 / kBins, exponent_);
  result.begin = (static_cast<double>(first) - kBins / 2.0) * width;
  result.width = width * static_cast<double>(joined);
  result.counts.resize((last - first) / joined + 1);
  for (size_t i = first; i <= last; ++i) result.counts[(i - first) / joined] += counts_[i];
  return result;
}

}  // namespace pare
