#pragma once

#include <functional>
#include <vector>

#include "passes/prune_channels_curves.h"

namespace pare {

/// How measuring is shared with earlier runs and other processes.
struct SensitivitySharing {
  /// MACs a sample of the tails that are not run here; samples are as many as if they were.
  double work_elsewhere = 0;
  /// Sees each curve's losses (its index, then by Curve::kept) and the seconds they took, as soon
  /// as they are measured.
  std::function<void(size_t, const std::vector<double>&, double)> done;
};

/// MACs a sample that measuring a family takes, whose consumers are `consumers`, at `counts`
/// points.
double sensitivity_work(const Graph& graph, const std::vector<NodeId>& consumers, size_t counts);

/// What the network's outputs lose when a single family is pruned: by curve, by Curve::kept.
///
/// Everything but that family stays as it is; its consumers have the weights of Curve::solutions.
/// The loss is T^2 KL(softmax(z/T) || softmax(z'/T)), T = 4, for a classifier's logits z (or a
/// distribution's logarithms), and the squared error over the outputs' energy for anything else; an
/// output of integers (an ArgMax) is judged by what it was chosen from. It never falls as more
/// goes. Each network prefix is run once; the tails are what takes the time. `reference` is the
/// network whose outputs count, `graph` itself or one of the same interface. No more samples are
/// used than `max_memory` holds, packed where that helps.
std::vector<std::vector<double>> measure_sensitivities(const Graph& graph, const Graph& reference,
                                                       const std::vector<const Curve*>& curves,
                                                       const std::vector<int64_t>& samples,
                                                       int64_t max_memory,
                                                       const PassContext& context,
                                                       const SensitivitySharing& sharing = {});

/// That loss of a whole network beside another, mean over chosen samples.
double output_loss(const Graph& reference, const Graph& graph, const std::vector<int64_t>& samples,
                   const PassContext& context);

}  // namespace pare
