#pragma once

#include <functional>
#include <vector>

#include "ir/graph.h"
#include "passes/shift_arithmetic.h"

namespace pare {

/// Called with the integers of every QuantizeLinear, in execution order.
using CodeHook = std::function<void(NodeId quantize, const FixedPoint& codes)>;

/// Runs a model that obeys check_shift_rules() as hardware would that multiplies integers and
/// rescales by shifting: between the first DequantizeLinear and the last QuantizeLinear of a chain
/// of nodes no float is computed with. What stays in float (Softmax) is evaluated as it is written.
///
/// Returns the graph outputs. Throws Error(kUnsupported) naming the node for an operator it has no
/// integer form of, and where sums do not fit 32 bits.
std::vector<Tensor> simulate_shifts(const Graph& graph, const std::vector<Tensor>& inputs,
                                    ShiftRounding rounding, const CodeHook& hook);

}  // namespace pare
