#pragma once

#include <functional>
#include <vector>

#include "ir/graph.h"

namespace pare {

/// Called with every value as it is computed; observers hang here.
using ValueHook = std::function<void(ValueId, const Tensor&)>;

/// Runs one node on given operands (null for one left out) with its op's reference meaning.
///
/// Float16 and bfloat16 operands are computed in float and the results rounded back, as ONNX
/// Runtime does on a CPU. Throws Error(kUnsupported) for an op without `eval`. Thread-safe.
std::vector<Tensor> evaluate(const Node& node, std::span<const Tensor* const> operands);

/// Runs `graph` once on the CPU, node by node, freeing each value after its last use.
///
/// `inputs` are the graph inputs in order; their extents may differ from the inferred ones (another
/// batch). Returns the graph outputs in order. `hook` sees inputs and computed values, not
/// constants. Errors gain the node's name. Thread-safe: many runs of one graph may go on at once.
std::vector<Tensor> execute(const Graph& graph, const std::vector<Tensor>& inputs,
                            const ValueHook& hook = {});

}  // namespace pare
