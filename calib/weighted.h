#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "ir/channel_slots.h"
#include "ir/graph.h"

namespace pare {

/// A node that contracts the channels of its input with weights (Conv, ConvTranspose, Gemm,
/// MatMul), constant or dequantized from a constant. What pruning and least squares need to know
/// about it, whatever the op.
struct WeightedNode {
  NodeId node;
  Dim input, output;  ///< Channel axes of the data operand and of the result.
  Dim weight_input;   ///< Axis of the weight that is contracted with `input` (within a group).
  Dim weight_output;  ///< Axis of the weight that runs over `output` (ConvTranspose: in a group).
  int64_t groups = 1;
  ValueId bias = kNoValue;  ///< Bias operand, constant or not.
  bool constant = true;     ///< The weight is a constant itself.
};

/// Empty for any other node, and for weights that are computed from an input.
std::optional<WeightedNode> weighted_node(const Graph& graph, NodeId id);

/// The node works on each channel alone: it hands on channels that another made.
bool is_depthwise(const Graph& graph, const WeightedNode& node);

}  // namespace pare
