#pragma once

#include <optional>

#include "cli/arguments.h"
#include "passes/pass_manager.h"
#include "passes/prune_channels_options.h"

namespace pare {

/// A pipeline up to its first prune-channels.
struct PruneRequest {
  std::optional<Options> data;                                   ///< The pipeline's data: block.
  PassManager before{PassManagerOptions{.compare_samples = 0}};  ///< The passes before it.
  PruneChannelsOptions options;  ///< Of that pass; as they are by default where there is none.
  bool has_prune = false;
};

PruneRequest read_prune_request(const PipelineArguments& arguments);

}  // namespace pare
