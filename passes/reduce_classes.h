#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/options.h"
#include "passes/pass.h"

namespace pare {

struct ReduceClassesOptions {
  std::vector<int64_t> keep;    ///< Class indices, ascending and distinct.
  std::string output;           ///< Name of the value that holds the classes; empty: find it.
  std::optional<int64_t> axis;  ///< Of that value; negative counts from the back.
};

/// Reads `keep` (indices and ranges: [0, 3, 7-9]), `output` and `axis`.
ReduceClassesOptions read_reduce_classes(Options& options);

/// Keeps some classes of a classifier, detector head or segmentation network and removes the rest
/// with all that only they need.
///
/// The class axis of the output shrinks to the kept indices, in ascending order; their logits stay
/// what they were, and a Softmax behind them normalises over the kept classes. Where nothing is
/// named, the classes are the last axis of [N, C] and [N, T, C] outputs, axis 1 of [N, C, H, W],
/// and what an ArgMax output was taken over. Throws Error(kUsage) naming the candidates where more
/// than one output qualifies, and Error(kUnsupported) naming the node that holds on to a class.
std::unique_ptr<Pass> make_reduce_classes(const ReduceClassesOptions& options);

}  // namespace pare
