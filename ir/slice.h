#pragma once

#include <cstddef>
#include <vector>

#include "ir/graph.h"

namespace pare {

/// The nodes at positions [first, last) of the order as a graph of their own, for running a network
/// in pieces: from a cached cut to the outputs, or from one cut to the next.
///
/// Values keep their ids; nodes get new ones. Inputs are what the nodes read from outside, in order
/// of ids, but shape arithmetic is repeated inside, so that types can be inferred at other extents.
/// Outputs are what later nodes or the graph's own outputs take from inside, in order of ids; where
/// `last` is the end, the graph's outputs in their order (inputs among them where a value passes
/// through). Weights are shared.
Graph slice(const Graph& graph, size_t first, size_t last);

/// Some nodes, in execution order, as a graph. Inputs are their computed_operands(); outputs are
/// the values they make and none of them reads, then those of `wanted` that they make besides.
Graph slice(const Graph& graph, const std::vector<NodeId>& nodes,
            const std::vector<ValueId>& wanted = {});
/// The outputs of such a slice, as values of `graph`.
std::vector<ValueId> results_of(const Graph& graph, const std::vector<NodeId>& nodes,
                                const std::vector<ValueId>& wanted = {});
/// Computed values that the nodes read and none of them makes, in the order they are read.
std::vector<ValueId> computed_operands(const Graph& graph, const std::vector<NodeId>& nodes);

}  // namespace pare
