#pragma once

#include <vector>

#include "passes/prune_channels_budget.h"

namespace pare {

/// Ranks the groups of a family by the size of the weights that make their channels: the norm
/// (order 1 or 2) of the slices of each producer's weight, over the mean norm of that weight's
/// slices, averaged over producers. The scores of a family average 1.
RankedFamily rank_by_magnitude(const Graph& graph, const ChannelSlots& slots, const Family& family,
                               int norm_order);

}  // namespace pare
