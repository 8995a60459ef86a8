#pragma once

#include <optional>

#include "ir/graph.h"

namespace pare {

/// The float tensor a DequantizeLinear of constants makes; empty where `id` comes from none.
std::optional<Tensor> dequantized_constant(const Graph& graph, ValueId id);

}  // namespace pare
