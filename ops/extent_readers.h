#pragma once

#include <vector>

#include "ir/graph.h"

namespace pare {

/// Which axes of the operand of a Shape or Size node must keep their extents, because something
/// other than the shape of a tensor comes to depend on them.
///
/// `axes` lists, for each element of the node's output, the axes it reads. Their extents are
/// followed through shape arithmetic. One that ends in the target of a Reshape, say, may change:
/// either the arithmetic gives the shrunk target or the rule of Reshape repairs it (OpDef::resize).
/// One that reaches numbers (the square root of a head's width), a model output, or an operator
/// that is not followed must stay. Returns a flag for each of `rank` axes.
std::vector<bool> frozen_extents(const Graph& graph, const Node& node,
                                 const std::vector<std::vector<size_t>>& axes, size_t rank);

}  // namespace pare
