#include "passes/knapsack.h"

#include <gtest/gtest.h>

namespace pare {
namespace {

TEST(Knapsack, TakesTheSmallestLossWithinTheBudget) {
  // A bin is a tenth. Keeping all costs 10 each; the second item loses least when it is cut.
  const KnapsackItem a{.loss = {0, 5}, .cost = {10, 4}}, b{.loss = {0, 1}, .cost = {10, 4}};
  EXPECT_EQ(solve_knapsack({a, b}, 14, 140), (std::vector<size_t>{0, 1}));
  EXPECT_EQ(solve_knapsack({a, b}, 20, 200), (std::vector<size_t>{0, 0}));
  EXPECT_EQ(solve_knapsack({a, b}, 8, 80), (std::vector<size_t>{1, 1}));
}

TEST(Knapsack, HasNoAnswerBelowTheCheapestOptions) {
  const KnapsackItem a{.loss = {0, 5}, .cost = {10, 4}};
  EXPECT_TRUE(solve_knapsack({a, a}, 7.9, 1000).empty());
  EXPECT_TRUE(solve_knapsack({a}, -1, 1000).empty());
}

TEST(Knapsack, FindsWhatGreedyStepsMiss) {
  // The cheap step of `a` is a trap: only its last option frees enough.
  const KnapsackItem a{.loss = {0, 1, 3}, .cost = {10, 9, 2}}, b{.loss = {0, 4}, .cost = {10, 3}};
  EXPECT_EQ(solve_knapsack({a, b}, 12, 120), (std::vector<size_t>{2, 0}));
}

}  // namespace
}  // namespace pare
