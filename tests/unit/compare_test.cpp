#include "calib/compare.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "calib/calibrate.h"
#include "calib/power_histogram.h"
#include "ops/ops.h"

namespace pare {
namespace {

Tensor matrix(Shape shape, std::vector<float> values) { return Tensor(std::move(shape), values); }

TEST(Compare, OutputsOfClassesAgreeWhereTheyAreEqual) {
  const Tensor a({1, 4}, std::vector<int64_t>{3, 3, 0, 15}),
      b({1, 4}, std::vector<int64_t>{3, 3, 1, 15});
  EXPECT_EQ(compare_outputs(std::vector{a}, std::vector{b}).agreement, 0.75);
}

TEST(Compare, EqualOutputsHaveNoError) {
  const std::vector<Tensor> a = {matrix({2, 3}, {1, 2, 3, 6, 5, 4})};
  const Comparison result = compare_outputs(a, a);
  EXPECT_EQ(result.samples, 2);
  EXPECT_EQ(result.max_abs_error, 0);
  EXPECT_EQ(result.agreement, 1);
  EXPECT_EQ(result.kl, 0);
  EXPECT_TRUE(std::isinf(result.sqnr_db));
  EXPECT_DOUBLE_EQ(result.cosine, 1);
}

TEST(Compare, MeasuresByHand) {
  const std::vector<Tensor> a = {matrix({2, 2}, {0, 4, 3, 0})}, b = {matrix({2, 2}, {0, 3, 0, 3})};
  const Comparison result = compare_outputs(a, b);
  EXPECT_EQ(result.agreement, 0.5);
  EXPECT_EQ(result.max_abs_error, 3);
  EXPECT_DOUBLE_EQ(result.max_relative_error, 0.75);
  EXPECT_NEAR(result.sqnr_db, 10 * std::log10(25.0 / 19.0), 1e-12);
  EXPECT_NEAR(result.cosine, 12 / std::sqrt(25.0 * 18.0), 1e-12);
  const auto log_p = [](double x, double y) { return -std::log1p(std::exp(y - x)); };
  const auto row = [&](double a0, double a1, double b0, double b1) {
    return std::exp(log_p(a0, a1)) * (log_p(a0, a1) - log_p(b0, b1)) +
           std::exp(log_p(a1, a0)) * (log_p(a1, a0) - log_p(b1, b0));
  };
  EXPECT_NEAR(result.kl, (row(0, 4, 0, 3) + row(3, 0, 0, 3)) / 2, 1e-12);
}

TEST(Compare, KlOfHugeLogitsIsFinite) {
  const std::vector<Tensor> a = {matrix({1, 2}, {1e30f, 0})}, b = {matrix({1, 2}, {9e29f, 0})};
  EXPECT_EQ(compare_outputs(a, b).kl, 0);
}

TEST(Compare, DistributionsAreNotSoftmaxedAgain) {
  const std::vector<Tensor> a = {matrix({1, 2}, {0.5, 0.5})}, b = {matrix({1, 2}, {0.25, 0.75})};
  EXPECT_NEAR(compare_outputs(a, b).kl, 0.5 * std::log(2.0) + 0.5 * std::log(2.0 / 3), 1e-7);
}

TEST(Compare, NotANumberIsAnInfiniteError) {
  const std::vector<Tensor> a = {matrix({1, 2}, {1, 2})}, b = {matrix({1, 2}, {NAN, 2})};
  EXPECT_TRUE(std::isinf(compare_outputs(a, b).max_abs_error));
  EXPECT_EQ(compare_outputs(b, b).max_abs_error, 0);
}

TEST(Compare, OtherShapesAreAnError) {
  const std::vector<Tensor> a = {matrix({1, 2}, {1, 2})}, b = {matrix({2, 1}, {1, 2})};
  try {
    compare_outputs(a, b);
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "output 0 is [2,1], the reference's is [1,2]");
  }
}

TEST(MinMax, SkipsWhatIsNotFinite) {
  MinMaxObserver observer;
  std::vector<float> data(40, 1.0f);
  data[5] = -3, data[39] = 7;
  observer.observe(data);
  data[6] = INFINITY, data[38] = NAN;
  observer.observe(data);
  EXPECT_EQ(observer.range(), (Range{-3, 7}));
  EXPECT_EQ(observer.not_finite(), 2);
}

/// 0, 0.01 .. 9.99 and one outlier.
HistogramObserver with_outlier() {
  HistogramObserver histogram({0, 100});
  std::vector<float> data;
  for (int i = 0; i < 1000; ++i) data.push_back(static_cast<float>(i) * 0.01f);
  data.push_back(100);
  histogram.observe(data);
  return histogram;
}

TEST(PowerHistogram, CountsAsAHistogramOfTheKnownRangeWould) {
  std::vector<float> small, large;
  for (int i = 0; i < 100000; ++i) {
    const float x = std::sin(static_cast<float>(i)) * static_cast<float>(i % 97) * 0.01f;
    (i % 2 == 0 ? small : large).push_back(i % 2 == 0 ? x * 0.1f : x);
  }
  small[7] = NAN, small[8] = INFINITY, small[9] = 0;
  const Range range{-0.97f, 0.97f};
  HistogramObserver expected(range);
  expected.observe(small), expected.observe(large);
  PowerHistogram a, b;
  MinMaxObserver extremes;
  a.observe(small, extremes);
  b.observe(large, extremes);
  EXPECT_GT(extremes.range().low, range.low);
  EXPECT_LT(extremes.range().high, range.high);
  EXPECT_EQ(extremes.not_finite(), 2);
  PowerHistogram ab = a, ba = b;
  ab.merge(b), ba.merge(a);
  const HistogramObserver actual = ab.over(range);
  EXPECT_EQ(actual.counts(), ba.over(range).counts()) << "the order of merging does not matter";
  double seen = 0, wanted = 0, furthest = 0;
  for (size_t i = 0; i < HistogramObserver::kBins; ++i) {
    seen += static_cast<double>(actual.counts()[i]);
    wanted += static_cast<double>(expected.counts()[i]);
    furthest = std::max(furthest, std::abs(seen - wanted));
  }
  EXPECT_EQ(seen, wanted) << "what is not finite is not counted, everything else is";
  EXPECT_LT(furthest, 0.002 * wanted) << "sums up to any bin are alike";
}

TEST(PowerHistogram, ZerosAreInTheMiddle) {
  PowerHistogram histogram;
  MinMaxObserver extremes;
  histogram.observe(std::vector<float>(100, 0.0f), extremes);
  histogram.observe(std::vector<float>{-1, 3}, extremes);
  const HistogramObserver counts = histogram.over({-1, 3});
  EXPECT_EQ(counts.counts()[HistogramObserver::kBins / 4], 100u);
}

TEST(PowerHistogram, ZerosDoNotMakeBinsCoarse) {
  std::vector<float> data(20000, 0.0f);
  data.push_back(1e-5f), data.push_back(2e-5f);
  PowerHistogram histogram, zeros;
  MinMaxObserver extremes;
  zeros.observe(std::vector<float>(7, 0.0f), extremes);
  histogram.observe(data, extremes);
  histogram.merge(zeros);
  zeros.merge(histogram);
  EXPECT_EQ(zeros.over({0, 2e-5f}).counts().front(), 20014u);
  EXPECT_EQ(zeros.over({0, 2e-5f}).counts().back(), 1u);
}

TEST(PowerHistogram, CountsTheSmallestNumbers) {
  PowerHistogram histogram;
  MinMaxObserver extremes;
  histogram.observe(std::vector<float>{1e-44f, 3e-38f}, extremes);
  const HistogramObserver counts = histogram.over({0, 3e-38f});
  EXPECT_EQ(counts.counts().back(), 1u);
  EXPECT_EQ(std::accumulate(counts.counts().begin(), counts.counts().end(), uint64_t{0}), 2u);
}

TEST(PowerHistogram, PartsMayBeSeenInAnyOrder) {
  std::vector<float> forwards;
  for (int i = 0; i < 50000; ++i)  // Beside the edges of bins, which grow on the way.
    forwards.push_back(std::nextafter(static_cast<float>(i - 20000) * 0x1p-10f, 0.0f));
  const std::vector<float> backwards(forwards.rbegin(), forwards.rend());
  PowerHistogram a, b;
  MinMaxObserver extremes;
  a.observe(forwards, extremes);
  b.observe(backwards, extremes);
  EXPECT_EQ(a.over(extremes.range()).counts(), b.over(extremes.range()).counts());
}

TEST(Ranges, PercentileCutsTheOutlier) {
  EXPECT_NEAR(percentile_range(with_outlier(), 0.99).high, 10, 0.1);
  EXPECT_EQ(percentile_range(with_outlier(), 1).high, 100);
}

TEST(Ranges, LeastSquaresWeighsTheOutlierAgainstTheStep) {
  // One element far out in many: cutting it off costs little only where the steps are coarse.
  EXPECT_EQ(least_squares_range(with_outlier(), 256).high, 100);
  HistogramObserver often({0, 100});
  for (int i = 0; i < 100000; ++i) often.merge(with_outlier()), i += 999;
  EXPECT_LT(least_squares_range(often, 4).high, 60);
}

TEST(Calibrate, GivesTheRangeOfEveryValueAskedFor) {
  Graph graph(onnx_ops());
  const ValueId x = graph.add_input("x", {DType::kF32, {1, 2}}, {"N", ""});
  const ValueId y = graph.add_node("Relu", {x}, {}, "act");
  graph.set_outputs({y});
  const Dataset data = Dataset::of({matrix({3, 2}, {-1, 2, 0, 5, -7, 1})});
  for (const int threads : {1, 3}) {
    CalibrateOptions options;
    options.run.threads = threads;
    options.run.batch = 2;
    const auto ranges = calibrate(graph, data, data.spread(3), {x, y}, options);
    EXPECT_EQ(ranges.at(x), (Range{-7, 5}));
    EXPECT_EQ(ranges.at(y), (Range{0, 5}));
  }
}

}  // namespace
}  // namespace pare
