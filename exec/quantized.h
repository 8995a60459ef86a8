#pragma once

#include <optional>
#include <vector>

#include "exec/fusion.h"

namespace pare {

/// An 8-bit tensor and what its numbers stand for: scale * (stored - zero_point).
struct StoredValue {
  ValueId id = kNoValue;
  float scale = 1;
  int32_t zero_point = 0;
};

/// A node between DequantizeLinear and QuantizeLinear that can be computed on the stored integers.
struct QuantizedNode {
  enum class Kind : uint8_t { kWeighted, kAdd, kMaxPool };
  Kind kind = Kind::kWeighted;
  NodeId node{};
  std::vector<StoredValue> inputs;    ///< Computed operands.
  ValueId weights = kNoValue;         ///< kWeighted: constant int8, zero points 0.
  std::vector<float> weight_scales;   ///< One, or one for each output channel.
  ValueId bias = kNoValue;            ///< Constant int32, in units of input times weight scale.
  std::vector<Curve> curves;          ///< Applied to the real result.
  std::optional<StoredValue> output;  ///< None where the result stays float.
  std::vector<NodeId> nodes;          ///< `node` and what follows it, in execution order.
};

/// Recognizes such a node by what is around it; nothing for any other.
std::optional<QuantizedNode> quantized_node(const Graph& graph, NodeId id,
                                            const std::vector<bool>& kept);

}  // namespace pare
