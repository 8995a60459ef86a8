#pragma once

#include <string>
#include <vector>

#include "config/options.h"
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
  /// Names or operators of producers, with * and ?; empty for all.
  std::vector<std::string> include;
  std::vector<std::string> exclude;
  bool refit = true;
  ReconstructOptions reconstruct;
};

/// Reads `macs` or `params`, `method`, `coupled`, `min-channels`, `multiple`, `include`, `exclude`,
/// `refit`, `samples`, `positions`, `ridge` and `max-memory`.
PruneChannelsOptions read_prune_channels(Options& options);

}  // namespace pare
