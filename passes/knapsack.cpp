#include "passes/knapsack.h"

#include <cmath>
#include <cstdint>
#include <limits>

namespace pare {

std::vector<size_t> solve_knapsack(const std::vector<KnapsackItem>& items, double budget,
                                   size_t bins) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (budget < 0) return {};
  const double unit = budget > 0 ? budget / static_cast<double>(bins) : 1;
  const auto width = [&](double cost) {
    const double steps = std::ceil(cost / unit - 1e-9);
    return steps > static_cast<double>(bins) ? bins + 1 : static_cast<size_t>(steps);
  };
  // best[b]: smallest loss of the items so far in b bins; pick[i][b]: the option of item i there.
  std::vector<double> best(bins + 1, 0.0);
  std::vector<std::vector<uint32_t>> pick;
  for (const KnapsackItem& item : items) {
    std::vector<double> next(bins + 1, kInfinity);
    std::vector<uint32_t>& picked = pick.emplace_back(bins + 1, 0);
    for (size_t option = 0; option < item.loss.size(); ++option) {
      for (size_t b = width(item.cost[option]); b <= bins; ++b) {
        const double loss = best[b - width(item.cost[option])] + item.loss[option];
        if (loss >= next[b]) continue;
        next[b] = loss;
        picked[b] = static_cast<uint32_t>(option);
      }
    }
    best = std::move(next);
  }
  if (!(best[bins] < kInfinity)) return {};
  std::vector<size_t> options(items.size());
  size_t b = bins;
  for (size_t i = items.size(); i-- > 0;) {
    options[i] = pick[i][b];
    b -= width(items[i].cost[options[i]]);
  }
  return options;
}

}  // namespace pare
