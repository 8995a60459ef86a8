#pragma once

#include <optional>
#include <vector>

#include "ir/graph.h"

namespace pare {

// What adjoints of operators that pick or mix places of an axis are made of.

/// Adds a Gather of constant `places` along an axis.
ValueId gather_along(Graph& graph, ValueId value, size_t axis, const std::vector<int64_t>& places);

/// By place of result `output` of a Slice, Split, Pad or Gather along an axis, 1 + the place of the
/// first operand it was picked from, or 0 for a new one. Nothing where operands are not constant.
std::vector<int64_t> picked_along(const Graph& graph, const Node& node, size_t output, size_t axis);

/// Adds nodes that take what lies at places `picked` (as above) of an axis back to the `extent`
/// places it was picked from, zeros elsewhere; nothing where some place was picked more than once.
std::optional<ValueId> put_back(Graph& graph, ValueId value, size_t axis,
                                const std::vector<int64_t>& picked, int64_t extent);

/// The matrices A and B of a node Y = A X B^T over the two axes of space, found by running it on
/// unit vectors: an average pool or an interpolation without negative weights, whose rows sum up to
/// 1. Nothing for other ranks or operands that are not constant.
std::optional<std::vector<Tensor>> axis_matrices(const Graph& graph, const Node& node);

}  // namespace pare
