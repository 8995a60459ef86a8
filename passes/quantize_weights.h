#pragma once

#include <cstdint>
#include <map>

#include "passes/pass.h"
#include "passes/quantize_int8.h"
#include "passes/quantize_int8_plan.h"
#include "passes/quantize_int8_scales.h"
#include "passes/reconstruct.h"

namespace pare {

struct WeightFitOptions {
  /// Samples, places, and the pull towards the weights as they are.
  ReconstructOptions moments;
  /// Share of the error of earlier layers that a later one makes up for.
  double absorb = 0.5;
  Rounding rounding = Rounding::kCompensated;
  bool per_channel = true;
  bool reduce_range = false;  ///< See weight_steps().
  /// One scale for all of a weight that is a power of two, the one with the least error.
  bool power_of_two = false;
};

/// What was done to one weighted node.
struct WeightFit {
  WeightCode code;
  double signal = 0;  ///< Energy of the float node's result, E|t|^2 (around its mean).
  double noise = 0;  ///< E|t - result|^2 of the quantized node behind the quantized ones before it.
};

/// Gives the constant weights of `plan`'s nodes in `graph` values that can be stored in the codes
/// returned, and biases that go with them, so that the quantized network computes what `graph`
/// computes as it comes in.
///
/// One sweep in execution order runs the float graph and a copy whose activations are quantized by
/// `codes` and whose weights are rounded as far as the sweep has come. At each weighted node second
/// moments of the copy's input u and the float node's result t are taken (where the result is added
/// to a stream that is there already, what the copy's stream lacks is put to t). Then
///
///   t' = absorb t + (1 - absorb) (W0^T u + b0)
///   W* = argmin E|W^T u + b - t'|^2 + ridge |W - W0|^2      (RidgeSolver)
///   W  = round_weights(Cov(u), W*) or nearest               (least-squares scales)
///   b  = E[t'] - W^T E[u]                                   (bias correction)
///
/// A node without a bias gets one where its op has a place for it. Nodes that are no such map
/// (ConvTranspose, weights other nodes share, more inputs than fit memory) have no entry in the
/// result and are rounded where they are stored. Bit-identical at any number of threads.
std::map<NodeId, WeightFit> fit_weights(Graph& graph, const QuantPlan& plan,
                                        const std::map<ValueId, ActivationCode>& codes,
                                        const WeightFitOptions& options,
                                        const PassContext& context);

}  // namespace pare
