#pragma once

#include <functional>
#include <vector>

#include "passes/prune_channels_curves.h"

namespace pare {

/// How measuring is shared with earlier runs and other processes.
struct SensitivitySharing {
  /// MACs a sample of the tails that are not run here; samples are as many as if they were.
  double work_elsewhere = 0;
  /// Sees each curve's losses (its index, then by ErrorCurve::kept) and the seconds they took, as
  /// soon as they are measured.
  std::function<void(size_t, const std::vector<double>&, double)> done;
};

/// MACs a sample that measuring a family takes, whose consumers are `consumers`, at `counts`
/// points.
double sensitivity_work(const Graph& graph, const std::vector<NodeId>& consumers, size_t counts);

/// What the network's outputs lose when a single family is pruned: by curve, by ErrorCurve::kept.
///
/// Everything but that family stays as it is; its consumers have the weights of
/// ErrorCurve::solutions. The loss is that of passes/output_loss.h and never falls as more goes.
/// Each network prefix is run once; the tails are what takes the time. `reference` is the network
/// whose outputs count, `graph` itself or one of the same interface. No more samples are used than
/// `max_memory` holds, packed where that helps.
std::vector<std::vector<double>> measure_sensitivities(const Graph& graph, const Graph& reference,
                                                       const std::vector<const ErrorCurve*>& curves,
                                                       const std::vector<int64_t>& samples,
                                                       int64_t max_memory,
                                                       const PassContext& context,
                                                       const SensitivitySharing& sharing = {});

}  // namespace pare
