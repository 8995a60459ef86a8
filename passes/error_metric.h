#pragma once

#include <map>
#include <span>
#include <vector>

#include "calib/patches.h"
#include "passes/pass.h"

namespace pare {

/// How much errors of a node's result matter to the network's outputs: with e the error at a place,
/// E[e^T W e] times the number of places is what the outputs lose (output_loss.h) to second order,
/// if errors of different places are independent.
///
/// W is half the second moments of the gradients of random curvature probes of the loss: the output
/// factor of K-FAC. Source: Martens and Grosse, "Optimizing Neural Networks with
/// Kronecker-factored Approximate Curvature", ICML 2015.
struct ErrorMetric {
  Matrix weights;  ///< W times the number of places [channels, channels].

  /// The part of some channels, damped so that none is free to take any error.
  Matrix of(std::span<const int64_t> channels) const;
};

using ErrorMetrics = std::map<NodeId, ErrorMetric>;

/// Metrics of the weighted nodes from which every way to the outputs has a derivative here
/// (adjoint.h); nodes with very many channels are left out. Runs the network forwards and backwards
/// on some of the samples, as many as work and `max_memory` [bytes] allow.
ErrorMetrics measure_error_metrics(const Graph& graph, const std::vector<int64_t>& samples,
                                   int64_t max_memory, const PassContext& context);

}  // namespace pare
