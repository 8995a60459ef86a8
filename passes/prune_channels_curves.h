#pragma once

#include <map>
#include <optional>
#include <span>
#include <vector>

#include "calib/backward_elimination.h"
#include "passes/pass.h"
#include "passes/prune_channels_families.h"
#include "passes/reconstruct.h"

namespace pare {

/// Constants of a graph that hold other tensors.
using Overrides = std::map<ValueId, Tensor>;

/// In which order the groups of a family go when its consumers make up for each loss as well as
/// they can, and what is lost.
struct ErrorCurve {
  const Family* family = nullptr;
  std::vector<uint32_t> order;  ///< Groups, first removed first.
  std::vector<double> error;    ///< Squared error of the consumers by groups kept, from `least` up.
  int64_t least = 1;            ///< Groups kept at the least.
  std::vector<int64_t> kept;    ///< Numbers of groups its effect is measured at, descending.
  std::vector<NodeId> consumers;
  /// The consumers' best weights at those numbers: by `kept`, then by consumer and its groups. Gone
  /// once the effect is measured.
  std::vector<std::vector<KeptRows>> solutions;
  double seconds = 0;  ///< That finding it took, and measuring its losses.
};

/// The constants of the curve's consumers (and of additions behind a MatMul) with their best
/// weights for `ErrorCurve::kept[point]` groups.
Overrides fitted_weights(const Graph& graph, const ErrorCurve& curve, size_t point);

/// Numbers of a family's `count` groups at which its effect on the outputs is measured, descending,
/// none below `least` and all below `count`.
std::vector<int64_t> measured_counts(int64_t count, int64_t least);

/// Rows of the moments of convolution group `conv_group` that each group of a family takes with it.
/// `channels` are the indices of `input` in the graph of `slots` that a node of `taps` taps reads,
/// those of all its groups one after the other.
std::vector<std::vector<int64_t>> rows_of_groups(const ChannelSlots& slots, const Family& family,
                                                 Dim input, std::span<const int64_t> channels,
                                                 int64_t taps);

/// The nodes that contract a family's channels, or none where least squares cannot handle one.
std::vector<NodeId> fitted_consumers(const Graph& graph, const Family& family);

/// Error curves by backward elimination on the activations of the unpruned network, one pass over
/// the samples. `least` is the smallest number of groups of each family. Nothing for a family that
/// must keep all, or that has a consumer least squares cannot handle.
std::vector<std::optional<ErrorCurve>> measure_curves(const Graph& graph, const ChannelSlots& slots,
                                                      const std::vector<Family>& families,
                                                      const std::vector<int64_t>& least,
                                                      const ReconstructOptions& options,
                                                      const PassContext& context);

}  // namespace pare
