#pragma once

#include <memory>

#include "passes/pass.h"
#include "passes/prune_channels_options.h"

namespace pare {

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
