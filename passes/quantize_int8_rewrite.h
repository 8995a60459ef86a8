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
/// for each QuantPlan::values.
QuantCounts insert_codes(Graph& graph, const QuantPlan& plan,
                         const std::map<ValueId, ActivationCode>& codes,
                         const QuantizeInt8Options& options);

}  // namespace pare
