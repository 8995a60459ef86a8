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

/// The 8-bit tensor `stored` with the constants that say what it stands for; nothing where these
/// are not one for the whole tensor.
std::optional<StoredValue> stored_value(const Graph& graph, ValueId stored, ValueId scale,
                                        ValueId zero_point);
/// The constant is 0 all over; no value counts as 0.
bool is_zero(const Graph& graph, ValueId id);

/// A node that can be computed on stored integers: one between DequantizeLinear and QuantizeLinear,
/// or a QLinear one.
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
/// The part of it that knows QLinear operators, and pools of stored integers.
std::optional<QuantizedNode> qlinear_node(const Graph& graph, NodeId id);

}  // namespace pare
