#pragma once

#include <optional>
#include <vector>

#include "ir/graph.h"

namespace pare {

/// A layer normalization over the last axis.
struct LayerNorm {
  ValueId x = kNoValue, scale = kNoValue, shift = kNoValue;
  float epsilon = 0;
};

/// One that an exporter spelled in several nodes.
struct LayerNormPattern {
  LayerNorm norm;
  std::vector<NodeId> nodes;  ///< In execution order; the last makes the result.
};

/// The layer normalization that begins with the ReduceMean `first`, if it is one:
///
///   d = x - mean(x)      y = d / sqrt(mean(d^2) + epsilon) * scale + shift
///
/// with the square as Pow or Mul, and constants `scale` and `shift` of one number for each element
/// of the last axis. Nothing else uses what the nodes compute in between, and none of it is an
/// output of the model.
std::optional<LayerNormPattern> layer_norm_pattern(const Graph& graph, NodeId first);

}  // namespace pare
