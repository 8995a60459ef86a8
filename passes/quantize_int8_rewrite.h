#pragma once

#include <cstdint>
#include <map>

#include "passes/quantize_int8.h"
#include "passes/quantize_int8_plan.h"
#include "passes/quantize_int8_scales.h"

namespace pare {

/// What insert_codes() made, for the stats.
struct QuantCounts {
  int64_t activations = 0;
  int64_t weights = 0;
  int64_t biases = 0;
  int64_t float_biases = 0;  ///< Computed ones and those of a form int32 cannot follow.
};

/// Puts the QuantizeLinear and DequantizeLinear nodes of `plan` into `graph`: `codes` has an entry
/// for each QuantPlan::values, `weights` for those weighted nodes whose constant weights are to be
/// stored so; others get the scales of least squared error.
QuantCounts insert_codes(Graph& graph, const QuantPlan& plan,
                         const std::map<ValueId, ActivationCode>& codes,
                         const std::map<NodeId, WeightCode>& weights,
                         const QuantizeInt8Options& options);

/// A copy of `graph` in which only the activations of `plan` are quantized; weights and biases stay
/// float constants.
Graph with_coded_activations(const Graph& graph, const QuantPlan& plan,
                             const std::map<ValueId, ActivationCode>& codes);

}  // namespace pare
