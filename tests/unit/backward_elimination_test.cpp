#include "calib/backward_elimination.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "calib/gram.h"

namespace pare {
namespace {

/// H of `rows` random inputs with a constant 1 at the end; `twin` copies one column to another.
Matrix random_moments(int64_t inputs, int64_t rows, std::pair<int64_t, int64_t> twin = {0, 0}) {
  std::mt19937 engine(7);
  Matrix h(inputs + 1, inputs + 1);
  for (int64_t r = 0; r < rows; ++r) {
    std::vector<double> u;
    for (int64_t i = 0; i < inputs; ++i)
      u.push_back(static_cast<double>(engine()) / 2147483648.0 - 0.8);
    u[static_cast<size_t>(twin.second)] = u[static_cast<size_t>(twin.first)];
    u.push_back(1);
    for (int64_t i = 0; i <= inputs; ++i) {
      for (int64_t j = 0; j <= inputs; ++j)
        h.row(i)[j] +=
            u[static_cast<size_t>(i)] * u[static_cast<size_t>(j)] / static_cast<double>(rows);
    }
  }
  return h;
}

Matrix random_weights(int64_t rows, int64_t cols) {
  std::mt19937 engine(11);
  Matrix m(rows, cols);
  for (double& x : m.data) x = static_cast<double>(engine()) / 2147483648.0 - 1;
  return m;
}

/// Candidates of `width` rows each.
std::vector<std::vector<int64_t>> candidates(int64_t count, int64_t width) {
  std::vector<std::vector<int64_t>> rows(static_cast<size_t>(count));
  for (int64_t i = 0; i < count * width; ++i) rows[static_cast<size_t>(i / width)].push_back(i);
  return rows;
}

TEST(BackwardElimination, RemovesARedundantInputFirstAndForNothing) {
  const Matrix h = random_moments(6, 200, {1, 4}), start = random_weights(7, 3);
  const Elimination found =
      backward_elimination({{.h = &h, .start = &start, .rows = candidates(6, 1)}}, 1e-9, 1, {});
  EXPECT_TRUE(found.order[0] == 1 || found.order[0] == 4);
  EXPECT_NEAR(found.error[5], 0, 1e-6);
  EXPECT_GT(found.error[4], 1e-3);
}

TEST(BackwardElimination, SolutionsAndErrorsAreThoseOfASolveFromScratch) {
  const Matrix h = random_moments(12, 300), start = random_weights(13, 4);
  const double ridge = 0.05;
  const Elimination found =
      backward_elimination({{.h = &h, .start = &start, .rows = candidates(4, 3)}}, ridge, 1, {2});
  ASSERT_EQ(found.solutions.size(), 1u);
  std::vector<int64_t> kept;
  for (int64_t i = 0; i < 12; ++i) {
    const auto candidate = static_cast<size_t>(i / 3);
    if (candidate != found.order[0] && candidate != found.order[1]) kept.push_back(i);
  }
  kept.push_back(12);
  Matrix g(13, 4);  // t = start^T u, so G = H start.
  for (int64_t i = 0; i < 13; ++i) {
    for (int64_t k = 0; k < 13; ++k) {
      for (int64_t o = 0; o < 4; ++o) g.row(i)[o] += h.row(i)[k] * start.row(k)[o];
    }
  }
  // Removing rows pulls towards `start` on those that are left.
  double mean = 0;
  for (int64_t i = 0; i < 12; ++i) mean += h.row(i)[i] / 12;
  const Matrix m = found.solutions[0][0].matrix();
  Matrix damped = g;
  for (int64_t i = 0; i < 12; ++i) {
    for (int64_t o = 0; o < 4; ++o) damped.row(i)[o] += ridge * mean * start.row(i)[o];
  }
  for (int64_t i : kept) {
    for (int64_t o = 0; o < 4; ++o) {
      double left = i < 12 ? ridge * mean * m.row(i)[o] : 0;
      for (int64_t k : kept) left += h.row(i)[k] * m.row(k)[o];
      EXPECT_NEAR(left, damped.row(i)[o], 1e-6) << i << " " << o;
    }
  }
}

TEST(BackwardElimination, FitsOtherTargetsBeforeItRemovesAnything) {
  const Matrix h = random_moments(5, 200), start = random_weights(6, 2);
  Matrix g = random_weights(6, 2);
  for (double& x : g.data) x *= 3;
  const Elimination found = backward_elimination(
      {{.h = &h, .start = &start, .g = &g, .rows = candidates(5, 1)}}, 0.05, 1, {5, 3});
  const RidgeSolver all(h, 0.05);
  const Matrix expected = all.solve(g, start);
  for (size_t i = 0; i < expected.data.size(); ++i)
    EXPECT_NEAR(found.solutions[0][0].matrix().data[i], expected.data[i], 1e-6);
  std::vector<int64_t> kept;
  for (int64_t i = 0; i < 5; ++i) {
    if (found.order[0] != static_cast<size_t>(i) && found.order[1] != static_cast<size_t>(i))
      kept.push_back(i);
  }
  ASSERT_EQ(kept.size(), 3u);
  double error[2] = {0, 0};  // Of the solutions, up to a constant: with the pull towards `start`.
  for (size_t s = 0; s < 2; ++s) {
    const Matrix m = found.solutions[s][0].matrix();
    double mean = 0;
    for (int64_t i = 0; i < 5; ++i) mean += h.row(i)[i] / 5;
    error[s] = residual(h, g, 0, m);
    for (int64_t i = 0; i < 5; ++i) {
      for (int64_t o = 0; o < 2; ++o)
        error[s] += 0.05 * mean * (m.row(i)[o] - start.row(i)[o]) * (m.row(i)[o] - start.row(i)[o]);
    }
  }
  EXPECT_NEAR(found.error[3], error[1] - error[0], 1e-6);
}

TEST(BackwardElimination, GoesByWhatErrorsMatter) {
  const Matrix h = random_moments(4, 200);
  Matrix start = random_weights(5, 2);
  for (int64_t i = 0; i < 4; ++i) start.row(i)[i == 2 ? 0 : 1] = 0;
  start.row(2)[1] = 10;  // The second output is all of input 2, and large.
  Matrix metric(2, 2);
  metric.row(0)[0] = 1;
  metric.row(1)[1] = 1e-6;
  EliminationProblem problem{.h = &h, .start = &start, .rows = candidates(4, 1)};
  const Elimination alike = backward_elimination({problem}, 1e-3, 1, {2});
  problem.metric = &metric;
  const Elimination weighed = backward_elimination({problem}, 1e-3, 1, {2});
  EXPECT_EQ(weighed.order[0], 2u);
  EXPECT_EQ(std::ranges::count(alike.order, 2u), 0);  // The last one left.
}

TEST(BackwardElimination, AMetricChangesErrorsAndNotWhatIsBestForTheRest) {
  const Matrix h = random_moments(6, 200), start = random_weights(7, 2);
  Matrix metric(2, 2);  // The second output's error counts with the first one's.
  metric.data = {2, 1.5, 1.5, 4};
  EliminationProblem problem{.h = &h, .start = &start, .rows = candidates(3, 2)};
  const Elimination alike = backward_elimination({problem}, 0.05, 1, {2});
  problem.metric = &metric;
  const Elimination weighed = backward_elimination({problem}, 0.05, 1, {2});
  const Matrix m = weighed.solutions[0][0].matrix();
  if (weighed.order[0] == alike.order[0]) {
    for (size_t i = 0; i < m.data.size(); ++i)
      EXPECT_NEAR(m.data[i], alike.solutions[0][0].matrix().data[i], 1e-5);
  }
  // The error is that of D = M - start under H with its ridge, by the metric.
  double mean = 0, error = 0;
  for (int64_t i = 0; i < 6; ++i) mean += h.row(i)[i] / 6;
  for (int64_t i = 0; i < 7; ++i) {
    for (int64_t j = 0; j < 7; ++j) {
      const double damped = h.row(i)[j] + (i == j ? (i < 6 ? 0.05 * mean : 1e-9) : 0);
      for (int64_t o = 0; o < 2; ++o) {
        for (int64_t q = 0; q < 2; ++q)
          error += damped * (m.row(i)[o] - start.row(i)[o]) * metric.row(o)[q] *
                   (m.row(j)[q] - start.row(j)[q]);
      }
    }
  }
  EXPECT_NEAR(weighed.error[2], error, 1e-5 * error);
}

TEST(BackwardElimination, SharedCandidatesCountForEveryProblem) {
  const Matrix h = random_moments(4, 200), a = random_weights(5, 2);
  Matrix b = a;
  for (int64_t o = 0; o < 2; ++o) b.row(2)[o] *= 100;  // Only the second problem needs input 2.
  Matrix without = a;
  for (int64_t o = 0; o < 2; ++o) without.row(2)[o] = 0;
  const std::vector<std::vector<int64_t>> rows = candidates(4, 1);
  const Elimination alone =
      backward_elimination({{.h = &h, .start = &without, .rows = rows}}, 1e-3, 1, {});
  EXPECT_EQ(alone.order[0], 2u);
  const Elimination both = backward_elimination(
      {{.h = &h, .start = &without, .rows = rows}, {.h = &h, .start = &b, .rows = rows}}, 1e-3, 1,
      {});
  EXPECT_EQ(std::ranges::count(both.order, 2u), 0) << "it stays to the end";
}

TEST(BackwardElimination, StopsAtTheLeast) {
  const Matrix h = random_moments(8, 200), start = random_weights(9, 2);
  const Elimination found =
      backward_elimination({{.h = &h, .start = &start, .rows = candidates(8, 1)}}, 0.05, 3, {});
  EXPECT_EQ(found.order.size(), 5u);
  for (size_t k = 3; k < 8; ++k) EXPECT_GE(found.error[k], found.error[k + 1]);
}

TEST(BackwardElimination, LeavesOutABiasThatIsNotThere) {
  const Matrix h = random_moments(4, 200);
  Matrix start = random_weights(5, 2);
  for (int64_t o = 0; o < 2; ++o) start.row(4)[o] = 0;
  const Elimination found = backward_elimination(
      {{.h = &h, .start = &start, .rows = candidates(4, 1), .has_bias = false}}, 0.05, 1, {2});
  for (int64_t o = 0; o < 2; ++o) EXPECT_EQ(found.solutions[0][0].matrix().row(4)[o], 0);
}

}  // namespace
}  // namespace pare
