#pragma once

#include <vector>

#include "passes/prune_channels_curves.h"

namespace pare {

/// What the network's outputs lose when a single family is pruned: by curve, by Curve::kept.
///
/// Everything but that family stays as it is; its consumers have the weights of Curve::fitted. The
/// loss is T^2 KL(softmax(z/T) || softmax(z'/T)), T = 4, for a classifier's logits z (or a
/// distribution's logarithms), and the squared error over the outputs' energy for anything else. It
/// never falls as more goes. Each network prefix is run once; the tails are what takes the time.
std::vector<std::vector<double>> measure_sensitivities(const Graph& graph,
                                                       const std::vector<const Curve*>& curves,
                                                       int64_t samples, const PassContext& context);

}  // namespace pare
