#include "calib/distribution.h"

#include <gmock/gmock.h>

#include <cmath>
#include <numeric>

namespace pare {
namespace {

TEST(Distribution, CountsEveryNumberOnceInBinsThatHoldIt) {
  DistributionObserver observer;
  std::vector<float> numbers;
  for (int i = 0; i < 1000; ++i) numbers.push_back(static_cast<float>(i) / 1000.0f);
  observer.observe(numbers);
  const Distribution d = observer.distribution(10);
  EXPECT_EQ(d.low, 0);
  EXPECT_NEAR(d.high, 0.999, 1e-6);
  EXPECT_NEAR(d.mean, 0.4995, 1e-6);
  EXPECT_LE(d.counts.size(), 10u);
  EXPECT_EQ(std::accumulate(d.counts.begin(), d.counts.end(), uint64_t{0}), 1000u);
  for (size_t i = 0; i < d.counts.size(); ++i) {
    const double low = d.begin + static_cast<double>(i) * d.width, high = low + d.width;
    const auto inside = std::ranges::count_if(numbers, [&](float x) {
      return static_cast<double>(x) >= low && static_cast<double>(x) < high;
    });
    EXPECT_EQ(d.counts[i], static_cast<uint64_t>(inside)) << "bin " << i;
  }
}

TEST(Distribution, IsTheSameInAnyOrderAndInParts) {
  const std::vector<float> small = {0.001f, -0.002f, 0.0005f}, large = {1000.0f, -3.0f};
  DistributionObserver one, other, first, second;
  for (const auto* part : {&small, &large}) one.observe(*part);
  for (const auto* part : {&large, &small}) other.observe(*part);
  first.observe(small);
  second.observe(large);
  first.merge(second);
  first.merge(DistributionObserver());
  EXPECT_EQ(one.distribution().counts, other.distribution().counts);
  EXPECT_EQ(one.distribution().counts, first.distribution().counts);
  EXPECT_EQ(first.distribution().low, -3);
}

TEST(Distribution, PassesOverWhatIsNotFinite) {
  DistributionObserver observer;
  EXPECT_TRUE(observer.distribution().counts.empty());
  observer.observe(std::vector<float>{NAN, INFINITY, 0.0f});
  EXPECT_EQ(observer.distribution().high, 0);
  EXPECT_EQ(observer.distribution().counts, std::vector<uint64_t>{1});
}

}  // namespace
}  // namespace pare
