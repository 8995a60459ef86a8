#pragma once

#include <cstdint>

#include "ir/graph.h"

namespace pare {

/// Rewrites every node of the default domain into the form of opset `target` (13 or newer) and sets
/// the model's opset to it. A model at `target` or above is left alone.
///
/// Throws Error(kUnsupported) naming the first node that cannot be converted, and changes nothing
/// then: an operator this tool does not know, or one that holds subgraphs.
void upgrade_opset(Graph& graph, int64_t target);

}  // namespace pare
