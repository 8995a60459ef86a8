#pragma once

#include <vector>

#include "passes/reconstruct_layer.h"

namespace pare {

/// A weighted node all of whose result goes into one other weighted node, and how it gets there.
struct ProducerPath {
  NodeId producer;
  std::vector<NodeId> between;  ///< In execution order; the last makes what the consumer reads.
  /// What the nodes in between and the consumer read beside the producer's result.
  std::vector<ValueId> others;
};

/// The producers of what `consumer` reads whose weights can be bettered for its sake, the nearest
/// first: back from its input through what has an adjoint, up to the next weighted nodes, and
/// through those that are depthwise or work on one vector an image (squeeze-excite). Nothing but
/// the consumer may see what becomes of a producer's result.
std::vector<ProducerPath> sole_producers(const Graph& graph, NodeId consumer);

/// What a sample takes while a producer is bettered for the consumer's sake: all values on the way,
/// once [bytes].
int64_t bytes_on_the_way(const Graph& graph, const ProducerPath& path, NodeId consumer);

/// Changes the weights of a producer so that its consumer's result comes nearer to what `fit`, the
/// least-squares problem of the consumer, wants.
///
/// The consumer's weights stay. Gauss-Newton steps in the Kronecker-factored form of Martens and
/// Grosse (2015): with u the producer's patches, d = J^T e the consumer's error taken back to the
/// producer's result, and b the same of random signs, a step is (E[u u^T] + D)^-1 E[u d^T]
/// E[b b^T]^-1. Its length is the best of a few on every eighth batch of samples, which steps are
/// not made of; where no length helps there, nothing changes. The lockstep must still hold the
/// producer's input and ProducerPath::others. Returns the share of the error that went, on the
/// batches held out.
double refit_producer(Graph& changed, const Lockstep& lockstep, const ProducerPath& path,
                      const LayerFit& fit, const ReconstructOptions& options);

}  // namespace pare
