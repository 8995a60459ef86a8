#pragma once

#include <cstddef>
#include <vector>

namespace pare {

/// One of several options is taken of each item.
struct KnapsackItem {
  std::vector<double> loss, cost;  ///< By option; costs are not negative.
};

/// The option of each item with the smallest sum of losses at a sum of costs of at most `budget`,
/// by dynamic programming over `bins` steps of the budget, each cost rounded up. Empty when there
/// is none. Time O(options * bins).
std::vector<size_t> solve_knapsack(const std::vector<KnapsackItem>& items, double budget,
                                   size_t bins);

}  // namespace pare
