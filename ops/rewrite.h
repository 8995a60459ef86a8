#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "ir/graph.h"

namespace pare {

/// Makes the integer operand `slot` of a node come to `wanted`, which has as many elements as it
/// has now. For OpDef::resize.
///
/// A constant that only this node uses is changed; a shared or computed one is replaced by a
/// constant of the node's own; one that depends on a symbolic dim keeps being computed and gets the
/// difference added, which holds at any batch as long as the entries that differ are no multiple of
/// that dim. The operand's elements must be known.
void repair_integers(Graph& graph, NodeId id, size_t slot, const std::vector<int64_t>& wanted);

/// The same for a list that is attribute `name` where the node has it, else operand `slot`.
void repair_integers(Graph& graph, NodeId id, std::string_view name, size_t slot,
                     const std::vector<int64_t>& wanted);

/// Turns a list attribute into an int64 operand, as newer opsets want it; nothing where the node
/// does not have it. For OpDef::upgrade.
void attribute_to_operand(Graph& graph, NodeId id, const std::string& name, size_t slot);

/// True when operand `slot` is computed and depends on a symbolic dim, so that what is known of it
/// holds for the bound extent only.
bool is_dynamic(const Graph& graph, const Node& node, size_t slot);

}  // namespace pare
