#pragma once

#include <optional>
#include <vector>

#include "ir/graph.h"

namespace pare {

/// The graph that takes what `piece` takes and a tensor e, shaped like its only output y, to
/// J^T e, where J is the derivative of y by input number `input`: what reverse-mode differentiation
/// computes, as a graph.
///
/// Nothing where an operator on the way has no rule here. There are rules for Conv, Gemm and MatMul
/// with constant weights, arithmetic, Concat, Softmax, pools, interpolation and what only moves
/// elements; functions of one element are differentiated by central differences. At the corner of a
/// Relu or Clip the derivative is 0, and of equal elements each counts as the largest.
std::optional<Graph> adjoint(const Graph& piece, size_t input = 0);

/// Gradients at values inside a graph.
struct Gradients {
  Graph graph;                  ///< Takes what the piece takes, then an e for each output of it.
  std::vector<ValueId> values;  ///< Of the piece, by output of `graph`.
};

/// The gradients of sum_i <e_i, y_i>, y_i the outputs of `piece`, at those of `values` from which
/// every way to the outputs has rules, as above, and there is one. All of it is in float.
Gradients gradients(const Graph& piece, const std::vector<ValueId>& values);

/// There is a rule for the node, by its operator.
bool has_adjoint(const Graph& graph, const Node& node);

}  // namespace pare
