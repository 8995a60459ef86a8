#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cost/cost.h"
#include "ir/graph.h"

namespace pare {

/// One layer before and after a run; a side is empty where the layer was not there.
struct LayerChange {
  struct Side {
    CostTotals cost;
    int64_t channels = 0;     ///< Of its first output; 0 where it has none.
    std::string weight_type;  ///< What its multiplies are charged at; empty without any.
  };
  std::string name, op;
  std::optional<Side> before, after;
};

/// The layers of both graphs that have work of their own on either side: those of `before` in
/// order, then new ones. A node keeps its id through passes; where a pass replaced one, the layer
/// of the same name stands for it.
std::vector<LayerChange> compare_layers(const Graph& before, const Cost& cost_before,
                                        const Graph& after, const Cost& cost_after);

/// What a run could not touch, and why.
struct LeftAlone {
  std::string name;
  std::optional<int64_t> channels, pinned;  ///< Of the layer, and those that stay.
  std::string reason;
};

/// Channels of `graph` that pruning cannot take, then nodes that are not costed.
std::vector<LeftAlone> left_alone(const Graph& graph, const Cost& cost);

}  // namespace pare
