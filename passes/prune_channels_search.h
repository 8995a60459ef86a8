#pragma once

#include <functional>
#include <optional>

#include "passes/pass.h"

namespace pare {

/// A network pruned to a budget, and what there is to say about it.
struct PrunedNetwork {
  Graph graph;
  PassStats stats;
  std::vector<std::string> warnings;
};

/// The largest cut that changes the best class of no more than a share of held-out samples.
struct DropSearch {
  double max_drop = 0;  ///< That share, in (0, 1).
  double farthest = 0;  ///< The largest cut tried, as a share of the size, in (0, 1).
  int64_t fitted = 0;   ///< Samples that weights are fitted to; the others are held out.
};

/// Bisects over the share that is cut, to a hundredth. `prune` makes the network for a share; an
/// Error(kUnsupported) from it counts as too far. Nothing when even the smallest cut loses more.
/// Stats gain the agreement with `original` on the held-out samples. Throws Error(kUnsupported)
/// where no output has classes or no samples are left to hold out.
std::optional<PrunedNetwork> search_largest_cut(
    const Graph& original, const DropSearch& search, const PassContext& context,
    const std::function<PrunedNetwork(double share, const PassContext&)>& prune);

}  // namespace pare
