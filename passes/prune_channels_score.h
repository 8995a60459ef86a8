#pragma once

#include <vector>

#include "passes/prune_channels_budget.h"

namespace pare {

/// How filters are told apart without looking at what they compute.
enum class WeightScore : uint8_t {
  kL2,               ///< Their norm.
  kL1,               ///< Their sum of absolute weights.
  kGeometricMedian,  ///< The sum of their distances to the layer's others: what is nearest to the
                     ///< rest is easiest to replace. Source: He et al., "Filter Pruning via
                     ///< Geometric Median", CVPR 2019.
  kRandom,           ///< By lot.
};

/// Ranks the groups of a family by the weights that make their channels: the score of the slices of
/// each producer's weight, over the mean of that weight's slices, averaged over producers. The
/// scores of a family average 1. `seed` is for kRandom.
RankedFamily rank_by_weights(const Graph& graph, const ChannelSlots& slots, const Family& family,
                             WeightScore score, uint64_t seed = 0);

}  // namespace pare
