// Rounding weights so that their errors make up for one another.

#include "calib/rounding.h"

#include <gtest/gtest.h>

#include <cmath>

#include "calib/gram.h"

namespace pare {
namespace {

double noise(uint32_t& seed) {
  seed = seed * 1664525u + 1013904223u;
  return static_cast<double>(seed >> 8) / 8388608.0 - 1.0;
}

Matrix random_matrix(int64_t rows, int64_t cols, uint32_t seed) {
  Matrix m(rows, cols);
  for (double& x : m.data) x = noise(seed);
  return m;
}

/// E[u u^T] of inputs that are mixtures of a few sources, as neighbouring pixels are.
Matrix correlated(int64_t inputs, uint32_t seed) {
  const int64_t sources = inputs / 2;
  const Matrix mix = random_matrix(inputs, sources, seed);
  Matrix h(inputs, inputs);
  for (int64_t i = 0; i < inputs; ++i) {
    for (int64_t j = 0; j < inputs; ++j) {
      for (int64_t k = 0; k < sources; ++k) h.row(i)[j] += mix.row(i)[k] * mix.row(j)[k];
    }
    h.row(i)[i] += 0.05;
  }
  return h;
}

RoundingGrid grid_of(const Matrix& w, int lowest, int highest) {
  return {lowest, highest, least_squares_scales(w, {}, lowest, highest)};
}

/// The least error of all ways to round.
double exhaustive(const Matrix& h, const Matrix& w, const RoundingGrid& grid) {
  double least = std::numeric_limits<double>::infinity();
  Matrix q(w.rows, 1);
  const int choices = grid.highest - grid.lowest + 1;
  const auto total = static_cast<int64_t>(std::pow(choices, w.rows));
  for (int64_t code = 0; code < total; ++code) {
    int64_t rest = code;
    for (int64_t i = 0; i < w.rows; ++i, rest /= choices)
      q.row(i)[0] = static_cast<double>(grid.lowest + rest % choices);
    least = std::min(least, rounding_error(h, w, grid, q));
  }
  return least;
}

TEST(RoundWeights, IsNearestWhereInputsAreUncorrelated) {
  Matrix h(20, 20);
  for (int64_t i = 0; i < 20; ++i) h.row(i)[i] = 1 + static_cast<double>(i);
  const Matrix w = random_matrix(20, 3, 1);
  const RoundingGrid grid = grid_of(w, -8, 7);
  EXPECT_EQ(round_weights(h, w, grid).data, round_to_nearest(w, grid).data);
}

TEST(RoundWeights, LosesFarLessThanNearestWhereInputsAreCorrelated) {
  // More inputs than a block, so that errors cross blocks.
  const Matrix h = correlated(250, 2), w = random_matrix(250, 8, 3);
  for (const int bits : {2, 3, 4, 8}) {
    const int half = 1 << (bits - 1);
    const RoundingGrid grid = grid_of(w, -half, half - 1);
    const double nearest = rounding_error(h, w, grid, round_to_nearest(w, grid));
    const Matrix q = round_weights(h, w, grid);
    EXPECT_LT(rounding_error(h, w, grid, q), 0.5 * nearest) << bits;
    for (const double x : q.data) {
      EXPECT_EQ(x, std::nearbyint(x));
      EXPECT_GE(x, -half);
      EXPECT_LE(x, half - 1);
    }
  }
}

TEST(RoundWeights, CopesWithMomentsThatAreAllRounding) {
  Matrix h(3, 3);  // Inputs that do not vary: what cancelling left is not even positive definite.
  for (int64_t i = 0; i < 3; ++i) h.row(i)[i] = 1e-20;
  h.row(0)[1] = h.row(1)[0] = -3e-20;
  const Matrix w = random_matrix(3, 2, 1);
  const RoundingGrid grid = grid_of(w, -8, 7);
  const Matrix q = round_weights(h, w, grid);
  for (size_t i = 0; i < q.data.size(); ++i) {
    EXPECT_GE(q.data[i], -8);
    EXPECT_LE(q.data[i], 7);
  }
}

TEST(RoundWeights, SingleMovesLowerTheErrorFurther) {
  const Matrix h = correlated(60, 4), w = random_matrix(60, 16, 5);
  const RoundingGrid grid = grid_of(w, -4, 3);
  const Matrix without = round_weights(h, w, grid, {.sweeps = 0}), with = round_weights(h, w, grid);
  EXPECT_LT(rounding_error(h, w, grid, with), rounding_error(h, w, grid, without));
}

TEST(RoundWeights, ComesCloseToTheBestOfAllRoundings) {
  double ours = 0, best = 0, nearest = 0;
  for (uint32_t seed = 10; seed < 20; ++seed) {
    const Matrix h = correlated(6, seed), w = random_matrix(6, 1, seed + 100);
    const RoundingGrid grid = grid_of(w, -2, 1);
    ours += rounding_error(h, w, grid, round_weights(h, w, grid));
    nearest += rounding_error(h, w, grid, round_to_nearest(w, grid));
    best += exhaustive(h, w, grid);
  }
  EXPECT_LT(ours, 1.5 * best);
  EXPECT_GT(nearest, 2 * best) << "the test would show nothing otherwise";
}

TEST(RoundWeights, TakesInputsThatAreAlwaysZero) {
  const Matrix h(5, 5), w = random_matrix(5, 2, 6);
  const RoundingGrid grid = grid_of(w, -127, 127);
  EXPECT_EQ(round_weights(h, w, grid).data, round_to_nearest(w, grid).data);
}

TEST(LeastSquaresScales, CutOffAnOutlierWhereStepsAreFew) {
  Matrix w = random_matrix(200, 1, 7);
  w.row(0)[0] = 3;
  const double four = least_squares_scales(w, {}, -8, 7)[0];
  const double eight = least_squares_scales(w, {}, -127, 127)[0];
  EXPECT_LT(four * 7, 2.5);
  EXPECT_GT(eight * 127, 2.5);
}

TEST(LeastSquaresScales, FollowTheEnergyOfInputs) {
  const Matrix w = random_matrix(200, 1, 7);
  Matrix outlier = w;
  outlier.row(0)[0] = 3;
  std::vector<double> energy(200, 1.0);
  energy[0] = 1e6;
  EXPECT_NEAR(least_squares_scales(outlier, energy, -8, 7)[0], 3.0 / 7, 0.02);
}

TEST(LeastSquaresScales, AnOutputOfZerosTakesTheScaleOfAnother) {
  Matrix w(3, 2);
  w.row(1)[1] = 5;
  const std::vector<double> scales = least_squares_scales(w, {}, -127, 127);
  EXPECT_EQ(scales[0], scales[1]);
  EXPECT_EQ(least_squares_scales(Matrix(3, 1), {}, -127, 127)[0], 1.0);
}

/// Inputs close to 6, as behind a Relu6 that most elements reach, and targets 3 u[0].
TEST(GatherGram, KeepsAVarianceThatIsSmallBesideItsMean) {
  constexpr int64_t kRows = 512;
  constexpr double kSpread = 0.004;
  for (const int64_t inputs : {4, 40}) {
    const Gram gram =
        gather_gram({.groups = 1, .inputs = inputs, .outputs = 1, .chunks = 16}, 2,
                    [&](int64_t chunk, SampleRows& rows) {
                      uint32_t seed = static_cast<uint32_t>(chunk) + 1;
                      rows = {.rows = kRows, .patches = {}, .targets = {}};
                      for (int64_t i = 0; i < kRows * inputs; ++i) {
                        rows.patches.push_back(static_cast<float>(5.97 + kSpread * noise(seed)));
                        if (i % inputs == 0) rows.targets.push_back(3 * rows.patches.back());
                      }
                    });
    const Matrix& h = gram.h[0];
    const double* mean = h.row(inputs);
    const double variance = kSpread * kSpread / 3;
    for (int64_t i = 0; i < inputs; ++i) {
      for (int64_t j = 0; j < inputs; ++j)
        EXPECT_NEAR(h.row(i)[j] - mean[i] * mean[j], i == j ? variance : 0, 0.05 * variance);
      EXPECT_NEAR(gram.g[0].row(i)[0] - mean[i] * gram.g[0].row(inputs)[0],
                  i == 0 ? 3 * variance : 0, 0.3 * variance);
    }
  }
}

}  // namespace
}  // namespace pare
