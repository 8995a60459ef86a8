#pragma once

#include <cstdint>
#include <vector>

#include "passes/pass.h"

namespace pare {

// What a network's outputs lose beside another's: T^2 KL(softmax(z/T) || softmax(z'/T)), T = 4, for
// a classifier's logits z (or a distribution's logarithms), and the squared error over the outputs'
// energy for anything else; an output of integers (an ArgMax) is judged by what it was chosen from.

/// The network with outputs that loss_of() judges.
Graph judged(const Graph& graph);

/// The loss, summed over the samples of a batch.
double loss_of(const std::vector<Tensor>& reference, const std::vector<Tensor>& outputs);

/// Random vectors v of the outputs' shapes with E[v v^T] the second derivative of the loss at the
/// reference, sample by sample. The same `seed` gives the same.
std::vector<Tensor> curvature_probe(const std::vector<Tensor>& reference, uint64_t seed);

/// The loss of a whole network beside another, mean over chosen samples.
double output_loss(const Graph& reference, const Graph& graph, const std::vector<int64_t>& samples,
                   const PassContext& context);

}  // namespace pare
