#pragma once

#include <memory>
#include <vector>

#include "ir/graph.h"

namespace pare {

/// A function applied to every element; alpha and beta mean what they do in oneDNN's eltwise.
struct Curve {
  enum class Kind : uint8_t {
    kRelu,       ///< x < 0 ? alpha x : x
    kClip,       ///< min(max(x, alpha), beta)
    kSigmoid,    //
    kTanh,       //
    kElu,        ///< x < 0 ? alpha (exp(x) - 1) : x
    kSwish,      ///< x sigmoid(alpha x)
    kHardSwish,  ///< x min(max(x / 6 + 1/2, 0), 1)
    kGeluErf,    //
    kGeluTanh,   //
    kMish,       //
    kLinear,     ///< alpha x + beta
    kAbs,
    kExp,
    kSqrt,
    kRound,  ///< Half to even.
  };
  Kind kind;
  float alpha = 0, beta = 0;
};

/// What is done to a result before it is stored.
struct PostOp {
  enum class Kind : uint8_t { kCurve, kAdd, kMul };
  Kind kind = Kind::kCurve;
  Curve curve{};
  ValueId operand = kNoValue;  ///< The other operand of kAdd and kMul.
};

struct LayerNorm;
struct QuantizedNode;

/// Nodes that run as one step.
struct FusedNode {
  NodeId anchor{};               ///< Makes the result.
  std::vector<NodeId> nodes;     ///< All, the anchor first, in execution order.
  std::vector<PostOp> post_ops;  ///< In order.
  NodeId batch_norm = kNone;     ///< A BatchNormalization between anchor and post-ops.
  ValueId output = kNoValue;
  /// Set where the group can be computed on stored integers instead of what its DequantizeLinears
  /// give.
  std::shared_ptr<const QuantizedNode> quantized;
  /// Set where the nodes are the parts of one.
  std::shared_ptr<const LayerNorm> layer_norm;

  /// Values the group needs computed, when it runs as it is meant to.
  std::vector<ValueId> reads(const Graph& graph) const;

  static constexpr NodeId kNone{0xffffffffu};
};

/// The curves a node with one computed operand applies in a row; none for any other node.
std::vector<Curve> curves_of(const Graph& graph, const Node& node);

/// Groups nodes into steps, in execution order of each group's last node, at which all its operands
/// are there. Values in `kept` (by value) stay results of their own. Groups whose results nobody
/// needs are left out.
std::vector<FusedNode> fuse(const Graph& graph, const std::vector<bool>& kept);

}  // namespace pare
