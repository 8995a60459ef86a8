#pragma once

#include <vector>

#include "passes/reconstruct_layer.h"

namespace pare {

/// A weighted node whose result only one other weighted node sees, and how it gets there.
struct ProducerPath {
  NodeId producer;
  std::vector<NodeId> between;  ///< Elementwise and depthwise nodes, in execution order.
};

/// The producers of what `consumer` reads whose weights can be bettered for its sake, the nearest
/// first: back from its input through Relu, Clip, additions of constants and depthwise
/// convolutions, as long as nothing else reads the values on the way.
std::vector<ProducerPath> sole_producers(const Graph& graph, NodeId consumer);

/// Changes the weights of a producer so that its consumer's result comes nearer to what `fit`, the
/// least-squares problem of the consumer, wants.
///
/// The consumer's weights stay. Gauss-Newton steps in the Kronecker-factored form of Martens and
/// Grosse (2015): with u the producer's patches, d = J^T e the consumer's error taken back to the
/// producer's result, and b the same of random signs, a step is (E[u u^T] + D)^-1 E[u d^T]
/// E[b b^T]^-1. Its length is the best of a few on every eighth batch of samples, which steps are
/// not made of; where no length helps there, nothing changes. The lockstep must still hold the
/// producer's input. Returns the share of the error that went, on the batches held out.
double refit_producer(Graph& changed, const Lockstep& lockstep, const ProducerPath& path,
                      const LayerFit& fit, const ReconstructOptions& options);

}  // namespace pare
