#include "calib/power_histogram.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <iterator>
#include <numeric>

namespace pare {
namespace {

constexpr size_t kBlock = 8192;  // Elements whose extremes are found before they are counted.
constexpr size_t kPlaces = 256;  // Elements whose bins are found before they are counted.

/// Calls `body(part)` for parts of `data` in order, each of `size` elements but the last.
template <typename Body>
void for_each_part(std::span<const float> data, size_t size, const Body& body) {
  for (; data.size() > size; data = data.subspan(size)) body(data.first(size));
  body(data);
}

}  // namespace

void PowerHistogram::grow(int exponent) {
  if (!binned_) exponent_ = std::max(exponent_, exponent);
  binned_ = true;
  for (; exponent_ < exponent; ++exponent_) {
    // What was a half is a quarter, on both sides of the middle.
    std::vector<uint64_t> wider(kBins + kLanes);
    for (size_t i = 0; i < kBins; ++i) wider[kMiddle / 2 + i / 2] += counts_[i];
    std::copy_n(counts_.begin() + kBins, kLanes, wider.begin() + kBins);
    counts_ = std::move(wider);
  }
}

void PowerHistogram::count(std::span<const float> finite) {
  const float scale = std::ldexp(1.0f, kBitsPerSide - exponent_);
  const auto place = [scale](float x, size_t lane) {  // From the middle.
    const float exact = x * scale;
    const auto toward_zero = static_cast<int32_t>(exact);
    const auto below = static_cast<int32_t>(exact < static_cast<float>(toward_zero));
    const int32_t zero = -static_cast<int32_t>(x == 0);  // All bits or none.
    return ((toward_zero - below) & ~zero) | (static_cast<int32_t>(kMiddle + lane) & zero);
  };
  std::array<int32_t, kPlaces> places;
  uint64_t* const middle = counts_.data() + kMiddle;
  for_each_part(finite, kPlaces, [&](std::span<const float> part) {
    const size_t whole = part.size() - part.size() % kLanes;
    for (size_t i = 0; i < whole; i += kLanes) {
      for (size_t lane = 0; lane < kLanes; ++lane) places[i + lane] = place(part[i + lane], lane);
    }
    for (size_t i = whole; i < part.size(); ++i) places[i] = place(part[i], i - whole);
    for (size_t i = 0; i < part.size(); ++i) ++middle[places[i]];
  });
}

void PowerHistogram::observe(std::span<const float> data, MinMaxObserver& extremes) {
  counts_.resize(kBins + kLanes);
  std::vector<float> some;
  for_each_part(data, kBlock, [&](std::span<const float> block) {
    MinMaxObserver seen;
    seen.observe(block);
    extremes.merge(seen);
    if (!seen.seen()) return;
    const float largest = std::max(std::abs(seen.range().low), std::abs(seen.range().high));
    if (largest > 0) grow(std::ilogb(largest) + 1);
    if (seen.not_finite() > 0) {
      some.clear();
      std::ranges::copy_if(block, std::back_inserter(some),
                           [](float x) { return std::isfinite(x); });
      block = some;
    }
    count(block);
  });
}

void PowerHistogram::merge(const PowerHistogram& other) {
  if (other.counts_.empty()) return;
  counts_.resize(kBins + kLanes);
  if (other.binned_) grow(other.exponent_);
  if (other.binned_ && other.exponent_ < exponent_) {
    PowerHistogram wide = other;
    wide.grow(exponent_);
    return merge(wide);
  }
  std::ranges::transform(counts_, other.counts_, counts_.begin(), std::plus<>());
}

HistogramObserver PowerHistogram::over(Range range) const {
  HistogramObserver result(range);
  const double width = static_cast<double>(range.high) - range.low;
  const double scale = width > 0 ? static_cast<double>(HistogramObserver::kBins) / width : 0;
  const auto place = [&](size_t edge) {  // In bins of the result.
    const double x = std::ldexp(static_cast<double>(edge) - static_cast<double>(kMiddle),
                                exponent_ - kBitsPerSide);
    return std::clamp((x - range.low) * scale, 0.0, static_cast<double>(HistogramObserver::kBins));
  };
  for (size_t i = 0; !counts_.empty() && i < kBins; ++i) {
    uint64_t count = counts_[i];
    if (i == kMiddle) count = std::accumulate(counts_.begin() + kBins, counts_.end(), count);
    if (count == 0) continue;
    const double from = place(i), to = place(i + 1);
    const auto first = std::min(static_cast<size_t>(from), HistogramObserver::kBins - 1);
    const auto last = std::min(static_cast<size_t>(to), HistogramObserver::kBins - 1);
    // These bins are narrower than the result's, so there is one edge at most.
    const double share = last > first ? (static_cast<double>(last) - from) / (to - from) : 1;
    const auto left = static_cast<uint64_t>(share * static_cast<double>(count));
    result.add(first, left);
    result.add(last, count - left);
  }
  return result;
}

}  // namespace pare
