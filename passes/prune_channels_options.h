#pragma once

#include <optional>
#include <string>
#include <vector>

#include "config/options.h"
#include "passes/prune_channels_budget.h"
#include "passes/reconstruct.h"

namespace pare {

/// Which channels go.
enum class PruneMethod : uint8_t {
  kObs,  ///< Those whose loss the next layers make up for best, by measured loss; l2 without data.
  // The others take as many of every layer.
  kL2,               ///< Those with the smallest weights.
  kL1,               ///< The same with sums of absolute weights.
  kGeometricMedian,  ///< Those whose weights are nearest to those of the layer's others.
  kRandom,           ///< By lot, for comparison.
};

/// Whether residual streams, whose channels many layers share, may be pruned too.
enum class PruneCoupled : uint8_t {
  kWhenNeeded,  ///< Only when inner channels cannot reach the budget, or not with ease.
  kYes,
  kNo,
};

/// The option `max-drop` as a share: "0.5%" as 0.005.
double read_drop(Options& options, const std::string& text);

/// What a layer keeps at the least.
struct LayerLimit {
  std::string pattern;  ///< Of names or operators of producers.
  double amount = 0;    ///< Channels, or a share of them in (0, 1] when `relative`.
  bool relative = false;

  /// Reads "conv1=50%" or "conv?=16". Throws Error(kUsage) for text that is no such thing.
  static LayerLimit parse(const std::string& text);
};

struct PruneChannelsOptions {
  Budget budget{.amount = 0.3, .relative = true};
  /// The largest share of held-out samples whose best class may change; no bound where empty. The
  /// budget is then as far as pruning goes when so much is not lost.
  std::optional<double> max_drop;
  PruneMethod method = PruneMethod::kObs;
  PruneCoupled coupled = PruneCoupled::kWhenNeeded;
  int64_t min_channels = 4;
  int64_t multiple = 1;
  /// Names or operators of producers, with * and ?; empty for all.
  std::vector<std::string> include;
  std::vector<std::string> exclude;
  std::vector<LayerLimit> limits;
  bool refit = true;
  std::string sensitivity;  ///< File that keeps measurements between runs; empty for none.
  ReconstructOptions reconstruct{.producer_steps = 4};
};

/// Reads `macs` or `params`, `max-drop`, `method`, `coupled`, `min-channels`, `multiple`,
/// `include`, `exclude`, `limits`, `refit`, `sensitivity`, `samples`, `positions`, `ridge`,
/// `producer-steps` and `max-memory`.
PruneChannelsOptions read_prune_channels(Options& options);

}  // namespace pare
