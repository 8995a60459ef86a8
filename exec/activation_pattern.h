#pragma once

#include <optional>
#include <vector>

#include "exec/fusion.h"
#include "ir/graph.h"

namespace pare {

/// An activation that an exporter spelled in several nodes.
struct ActivationPattern {
  Curve curve;                ///< kSwish, kHardSwish, kGeluErf or kGeluTanh.
  ValueId x = kNoValue;       ///< What it is applied to.
  std::vector<NodeId> nodes;  ///< In execution order; the last makes the result.
};

/// The activation whose result the Mul or Div `root` makes, if it is one:
///
///   x sigmoid(alpha x)                                             Swish
///   x hard_sigmoid(x), x clip(x + 3, 0, 6) / 6                     HardSwish
///   x (1 + erf(x / sqrt 2)) / 2                                    Gelu
///   x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2              Gelu, tanh
///
/// with numbers multiplied or divided in at any place of the product. Nothing else uses what the
/// nodes compute in between, and none of it is an output of the model.
std::optional<ActivationPattern> activation_pattern(const Graph& graph, NodeId root);

/// The single number a float constant holds, whatever its shape.
std::optional<float> scalar_constant(const Graph& graph, ValueId id);

/// The bounds of a Clip, in attributes or constant operands, as Curve::Kind::kClip; empty where
/// they are computed or cross.
std::optional<Curve> clip_curve(const Graph& graph, const Node& clip);

}  // namespace pare
