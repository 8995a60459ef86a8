#pragma once

#include <optional>

#include "ir/graph.h"

namespace pare {

/// The graph that takes the input z of `piece` and a tensor e shaped like its output y to J(z)^T e,
/// where J is the derivative of y by z: what reverse-mode differentiation computes, as a graph.
///
/// `piece` has one computed input and one output. Nothing where it holds an operator without a rule
/// here: rules are there for Conv, Gemm and MatMul with constant weights, Relu, Clip, and additions
/// of constants. At the corner of a Relu or Clip the derivative is 0.
std::optional<Graph> adjoint(const Graph& piece);

}  // namespace pare
