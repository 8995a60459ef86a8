#pragma once

#include <optional>
#include <string>
#include <vector>

#include "ir/graph.h"

namespace pare {

/// The exponent e of a scale 2^e; empty unless `scale` is such a number, alone and constant.
std::optional<int> exponent_of_scale(const Graph& graph, ValueId scale);

/// The QuantizeLinear or DequantizeLinear that makes a value; null for another.
const Node* quantizer_of(const Graph& graph, ValueId id);

/// By node: computes on integers. What multiplies does when both operands come from
/// DequantizeLinear; others when their operands are integers and their result goes nowhere but to
/// QuantizeLinear, through such nodes or at once.
std::vector<bool> integer_nodes(const Graph& graph);

/// A node that does not obey, and in which way.
struct RuleBreak {
  NodeId node;
  std::string sentence;  ///< "node 'conv1' (Conv): ...".
};

struct RuleCheck {
  std::vector<RuleBreak> breaks;  ///< In execution order.
  std::vector<NodeId> in_float;   ///< Nodes that compute in float, for a processor beside.
};

/// Checks that hardware which multiplies int8 and rescales by shifting can run `graph`, a model in
/// QDQ form:
///
/// - scales are constants, one a tensor, powers of two; activations and weights are int8 with zero
///   point 0, biases int32 at the scale of the sums;
/// - what multiplies has both operands quantized;
/// - operands of a sum have one scale, those of a Concat that of its result;
/// - pools divide as the hardware does (power_of_two.h).
RuleCheck check_shift_rules(const Graph& graph);

}  // namespace pare
