#pragma once

#include <cstdint>
#include <map>
#include <optional>

#include "calib/observer.h"
#include "passes/graph_section.h"
#include "passes/pass.h"
#include "passes/quantize_int8_plan.h"
#include "passes/quantize_int8_scales.h"

namespace pare {

// What hardware that rescales by shifting asks of a network (profile dpu,
// docs/passes/quantize-int8.md).

/// How such hardware divides the sum of a pooling window: sum * multiplier / 2^shift.
struct PoolFactor {
  int64_t multiplier = 1;
  int shift = 0;
};
/// For a window of `height` x `width`: what DPUCZDX8G uses, or where it has no figure of its own
/// the nearest quotient with a shift below ceil(log2(128 window)). Source: nndct of Vitis AI.
PoolFactor pool_factor(int64_t height, int64_t width);

/// The factor of an AveragePool or GlobalAveragePool whose window is the same everywhere; empty for
/// other nodes, and where padding makes windows smaller at the border.
std::optional<PoolFactor> pool_factor(const Graph& graph, const Node& node);

/// What the hardware makes of the mean of a window: its mean times this.
double pool_ratio(const Graph& graph, const Node& pool, PoolFactor factor);

/// Puts a Mul behind every pool of the section whose quotient is not the exact one, so that the
/// network computes what the hardware does. Returns how many.
int64_t insert_pool_factors(Graph& graph, const GraphSection& section);

/// True for a Mul that insert_pool_factors() put there, or one like it.
bool is_pool_factor(const Graph& graph, const Node& mul);

/// int8 codes with zero point 0 and scales that are powers of two, for the values of `plan`, by
/// QuantPlan::code_of. `ranges` are those of the smallest and the largest element.
///
/// The exponent of each is the one with the least error of the results of the nodes that read it:
/// each node, with the activation behind it, runs on up to 64 samples with its operand in each of
/// three codes, the first of which clips nothing. Errors are relative to the result's energy.
std::map<ValueId, ActivationCode> power_of_two_codes(const Graph& graph, const QuantPlan& plan,
                                                     const std::map<ValueId, Range>& ranges,
                                                     const PassContext& context);

/// The code that reaches all of `range`.
ActivationCode power_of_two_code(Range range);

/// The smallest power of two that is `scale` or more; 1 for 0.
double power_of_two_above(double scale);

}  // namespace pare
