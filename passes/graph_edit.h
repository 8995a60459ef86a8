#pragma once

#include <cstdint>
#include <vector>

#include "ir/graph.h"

namespace pare {

/// True when every use of `from`, the model's outputs among them, may be pointed at `to`: the names
/// of the model's inputs and outputs must not change.
bool can_replace(const Graph& graph, ValueId from, ValueId to);

/// Removes every node none of whose outputs is used, and then what only it used; returns how many.
int64_t remove_unused_nodes(Graph& graph);

/// Elements of a float tensor as double.
std::vector<double> to_double(const Tensor& tensor);
/// A tensor of the same type and shape as `like` with these elements.
Tensor from_double(const std::vector<double>& elements, TensorType type);

/// Gives operand `slot` of a node another constant: in place when nobody else uses it, so that it
/// keeps its name, else as a constant of its own.
void replace_constant(Graph& graph, NodeId node, size_t slot, Tensor tensor);
/// The same for an operand that may be absent so far (a bias); a constant is only replaced in place
/// when its shape stays.
void set_constant_operand(Graph& graph, NodeId node, size_t slot, Tensor tensor);

}  // namespace pare
