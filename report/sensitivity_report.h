#pragma once

#include <string>

#include "ir/graph.h"
#include "passes/prune_channels_obs.h"

namespace pare {

/// For the terminal: what the outputs lose when a set of channels keeps a share of them, by set.
std::string sensitivity_table(const Graph& graph, const MeasuredFamilies& measured,
                              size_t width = 0);
/// {sets: [{name, channels, losses: [{kept, loss}]}]}.
std::string sensitivity_json(const Graph& graph, const MeasuredFamilies& measured);

}  // namespace pare
