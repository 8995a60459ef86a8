#pragma once

#include <optional>

#include "ir/graph.h"

namespace pare {

/// The graph that takes what `piece` takes and a tensor e, shaped like its only output y, to
/// J^T e, where J is the derivative of y by input number `input`: what reverse-mode differentiation
/// computes, as a graph.
///
/// Nothing where an operator on the way has no rule here. There are rules for Conv, Gemm and MatMul
/// with constant weights, additions and products, Concat, global average pools and what only
/// reshapes; functions of one element are differentiated by central differences. At the corner of a
/// Relu or Clip the derivative is 0.
std::optional<Graph> adjoint(const Graph& piece, size_t input = 0);

/// There is a rule for the node, by its operator.
bool has_adjoint(const Graph& graph, const Node& node);

}  // namespace pare
