#include "calib/observer.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace pare {
namespace {

constexpr size_t kLanes = 32;  // Independent minima, so that the loop can be vectorised.

/// Squared error of quantizing `total` elements, all of the histogram, with the range [low, high].
double squared_error(const HistogramObserver& histogram, double total, double low, double high,
                     int levels) {
  const double step = (std::max(high, 0.0) - std::min(low, 0.0)) / (levels - 1);
  double outside = 0;
  const auto add = [&](size_t bin, double distance) {
    outside += static_cast<double>(histogram.counts()[bin]) * distance * distance;
  };
  const auto center = [&](size_t bin) { return histogram.center(bin); };
  for (size_t i = 0; i < HistogramObserver::kBins && center(i) < low; ++i) add(i, low - center(i));
  for (size_t i = HistogramObserver::kBins; i > 0 && center(i - 1) > high; --i)
    add(i - 1, center(i - 1) - high);
  return total * step * step / 12 + outside;
}

/// KL(P || Q) of the counts, those outside [low, high] counted at its borders, and of what `levels`
/// steps leave of them: within a step the counts inside are spread evenly over bins that have any.
/// What was outside is in P only, so that cutting off costs. Zero has a code of its own in every
/// range, so its bin, the fullest behind a Relu, does not count.
double divergence(const HistogramObserver& histogram, double low, double high, int levels) {
  const auto bins = static_cast<int64_t>(HistogramObserver::kBins);
  int64_t first = bins, last = -1;
  for (int64_t i = 0; i < bins; ++i) {
    const double x = histogram.center(static_cast<size_t>(i));
    if (x < low || x > high) continue;
    first = std::min(first, i);
    last = i;
  }
  if (first > last) return std::numeric_limits<double>::infinity();
  const auto width = static_cast<size_t>(last - first + 1);
  std::vector<double> inside(width), p(width);
  const double half = (histogram.center(1) - histogram.center(0)) / 2;
  for (int64_t i = 0; i < bins; ++i) {
    if (std::abs(histogram.center(static_cast<size_t>(i))) <= half) continue;
    const auto count = static_cast<double>(histogram.counts()[static_cast<size_t>(i)]);
    p[static_cast<size_t>(std::clamp(i, first, last) - first)] += count;
    if (i >= first && i <= last) inside[static_cast<size_t>(i - first)] = count;
  }
  std::vector<double> step_sum(static_cast<size_t>(levels)), step_bins(step_sum.size());
  const auto step_of = [&](size_t i) { return i * static_cast<size_t>(levels) / width; };
  for (size_t i = 0; i < width; ++i) {
    step_sum[step_of(i)] += inside[i];
    step_bins[step_of(i)] += p[i] > 0 ? 1 : 0;
  }
  const double all_p = std::accumulate(p.begin(), p.end(), 0.0);
  const double all_q = std::accumulate(inside.begin(), inside.end(), 0.0);
  if (all_q == 0) return std::numeric_limits<double>::infinity();
  double result = 0;
  for (size_t i = 0; i < width; ++i) {
    if (p[i] == 0) continue;
    // A border bin that only what lies outside has filled.
    const double q = std::max(step_sum[step_of(i)] / step_bins[step_of(i)], 1e-3);
    result += p[i] / all_p * std::log(p[i] / all_p * all_q / q);
  }
  return result;
}

/// [a low, b high], 0 < a, b <= 1, with the least `loss(low, high)`.
template <typename Loss>
Range best_range(const HistogramObserver& histogram, const Loss& loss) {
  constexpr int kSteps = 100;    // Candidates for either end, one percent apart.
  constexpr int kSmallest = 20;  // Percent: no less of the range is ever kept.
  const Range range = histogram.range();
  int best_low = kSteps, best_high = kSteps;
  const auto at = [&](int low, int high) {
    return loss(range.low * static_cast<double>(low) / kSteps,
                range.high * static_cast<double>(high) / kSteps);
  };
  double least = at(kSteps, kSteps);
  const auto consider = [&](int low, int high) {
    const double e = at(low, high);
    if (e < least) least = e, best_low = low, best_high = high;
  };
  // Both ends together, then each by itself.
  for (int k = kSteps - 1; k >= kSmallest; --k) consider(k, k);
  const int joint_low = best_low;
  for (int k = kSteps; k >= kSmallest; --k) consider(joint_low, k);
  const int joint_high = best_high;
  for (int k = kSteps; k >= kSmallest; --k) consider(k, joint_high);
  return {static_cast<float>(range.low * static_cast<double>(best_low) / kSteps),
          static_cast<float>(range.high * static_cast<double>(best_high) / kSteps)};
}

}  // namespace

void MinMaxObserver::observe(std::span<const float> data) {
  std::array<float, kLanes> low, high, zero{};
  low.fill(std::numeric_limits<float>::infinity());
  high.fill(-std::numeric_limits<float>::infinity());
  size_t i = 0;
  for (; i + kLanes <= data.size(); i += kLanes) {
    for (size_t k = 0; k < kLanes; ++k) {
      const float x = data[i + k];
      low[k] = x < low[k] ? x : low[k];
      high[k] = x > high[k] ? x : high[k];
      zero[k] += x - x;  // Not a number once an element is not finite.
    }
  }
  float odd = 0;
  for (const float z : zero) odd += z;
  for (; i < data.size(); ++i) {
    low[0] = data[i] < low[0] ? data[i] : low[0];
    high[0] = data[i] > high[0] ? data[i] : high[0];
    odd += data[i] - data[i];
  }
  if (odd == 0) {
    low_ = std::min(low_, *std::ranges::min_element(low));
    high_ = std::max(high_, *std::ranges::max_element(high));
    return;
  }
  for (const float x : data) {
    if (!std::isfinite(x)) {
      ++not_finite_;
      continue;
    }
    low_ = std::min(low_, x);
    high_ = std::max(high_, x);
  }
}

void MinMaxObserver::merge(const MinMaxObserver& other) {
  low_ = std::min(low_, other.low_);
  high_ = std::max(high_, other.high_);
  not_finite_ += other.not_finite_;
}

void HistogramObserver::observe(std::span<const float> data) {
  const double width = static_cast<double>(range_.high) - range_.low;
  const double scale = width > 0 ? static_cast<double>(kBins) / width : 0;
  for (const float x : data) {
    if (!(x >= range_.low && x <= range_.high)) continue;
    const auto bin = static_cast<size_t>((static_cast<double>(x) - range_.low) * scale);
    ++counts_[std::min(bin, kBins - 1)];
  }
}

void HistogramObserver::merge(const HistogramObserver& other) {
  for (size_t i = 0; i < kBins; ++i) counts_[i] += other.counts_[i];
}

double HistogramObserver::center(size_t i) const {
  const double width = static_cast<double>(range_.high) - range_.low;
  return range_.low + (static_cast<double>(i) + 0.5) * width / static_cast<double>(kBins);
}

Range percentile_range(const HistogramObserver& histogram, double keep) {
  const auto& counts = histogram.counts();
  double total = 0;
  for (const uint64_t count : counts) total += static_cast<double>(count);
  const double spare = total * (1 - keep) / 2;
  size_t first = 0, last = HistogramObserver::kBins - 1;
  for (double out = 0; first < last; ++first) {
    out += static_cast<double>(counts[first]);
    if (out > spare) break;
  }
  for (double out = 0; last > first; --last) {
    out += static_cast<double>(counts[last]);
    if (out > spare) break;
  }
  const Range range = histogram.range();
  const double width =
      (static_cast<double>(range.high) - range.low) / static_cast<double>(HistogramObserver::kBins);
  return {static_cast<float>(range.low + static_cast<double>(first) * width),
          last + 1 == HistogramObserver::kBins
              ? range.high
              : static_cast<float>(range.low + static_cast<double>(last + 1) * width)};
}

Range least_squares_range(const HistogramObserver& histogram, int levels) {
  const double total = std::accumulate(histogram.counts().begin(), histogram.counts().end(), 0.0);
  return best_range(histogram, [&](double low, double high) {
    return squared_error(histogram, total, low, high, levels);
  });
}

Range entropy_range(const HistogramObserver& histogram, int levels) {
  return best_range(
      histogram, [&](double low, double high) { return divergence(histogram, low, high, levels); });
}

}  // namespace pare
