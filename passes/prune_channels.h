#pragma once

#include <memory>
#include <string>
#include <vector>

#include "config/options.h"
#include "passes/pass.h"
#include "passes/prune_channels_budget.h"
#include "passes/reconstruct.h"

namespace pare {

/// Which channels go.
enum class PruneMethod : uint8_t {
  kObs,  ///< Those whose loss the next layers make up for best, by measured loss; l2 without data.
  kL2,   ///< Those with the smallest weights, as many of every layer.
  kL1,   ///< The same with sums of absolute weights.
};

/// Whether residual streams, whose channels many layers share, may be pruned too.
enum class PruneCoupled : uint8_t {
  kWhenNeeded,  ///< Only when inner channels cannot reach the budget.
  kYes,
  kNo,
};

struct PruneChannelsOptions {
  Budget budget{.amount = 0.3, .relative = true};
  PruneMethod method = PruneMethod::kObs;
  PruneCoupled coupled = PruneCoupled::kWhenNeeded;
  int64_t min_channels = 4;
  int64_t multiple = 1;
  std::vector<std::string> include;  ///< Names of producers, with * and ?; empty for all.
  std::vector<std::string> exclude;
  bool refit = true;
  ReconstructOptions reconstruct;
};

/// Reads `macs` or `params`, `method`, `coupled`, `min-channels`, `multiple`, `include`, `exclude`,
/// `refit`, `samples`, `positions`, `ridge` and `max-memory`.
PruneChannelsOptions read_prune_channels(Options& options);

/// Removes channels until the network meets a budget, and fits the weights of what is left to the
/// original's activations by least squares (reconstruct.h).
///
/// Channels live and die by slot groups, so residual streams, concats, depthwise and grouped
/// convolutions, squeeze-and-excite and flattened maps need no special care. Without data nothing
/// is fitted, which costs most of the accuracy; a warning says so. Before weights are fitted the
/// pass proves on samples that the small network computes what the large one with its doomed
/// channels set to zero does.
std::unique_ptr<Pass> make_prune_channels(const PruneChannelsOptions& options);

}  // namespace pare
