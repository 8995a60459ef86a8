#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cost/cost.h"
#include "ir/graph.h"
#include "ir/lineage.h"
#include "passes/measure_layers.h"

namespace pare {

/// One layer before and after a run; a side is empty where the layer was not there.
struct LayerChange {
  struct Side {
    CostTotals cost;
    int64_t channels = 0;     ///< Of its first output; 0 where it has none.
    std::string weight_type;  ///< What its multiplies are charged at; empty without any.
    int weight_bits = 0;      ///< Of that type.
  };
  std::string name, op;
  std::optional<Side> before, after;
  std::optional<LayerMeasure> measure;  ///< Of its result and weights, where there was data.
};

/// A graph and what it is estimated to cost.
struct CostedGraph {
  const Graph& graph;
  const Cost& cost;
};

/// The layers of both graphs that have work of their own on either side: those of `before` in
/// order, then new ones. The layer of `after` that stands for one of `before` is its other side;
/// `measures` are of nodes of `before`.
std::vector<LayerChange> compare_layers(const CostedGraph& before, const CostedGraph& after,
                                        const Lineage& lineage,
                                        const std::vector<LayerMeasure>& measures);

/// Where a node of the result comes from.
struct NodeOrigin {
  std::string name, op;
  std::vector<std::string> stands_for;  ///< Names of nodes of the original.
  std::string made_by;  ///< The pass that put it there; empty for one of the original.
};

/// Of every node of `after`, in execution order.
std::vector<NodeOrigin> node_origins(const Graph& before, const Graph& after,
                                     const Lineage& lineage);

/// A node of the original that nothing stands for any more.
struct RemovedNode {
  std::string name, op;
  std::string pass;
};

std::vector<RemovedNode> removed_nodes(const Graph& before, const Lineage& lineage);

/// What a run could not touch, and why.
struct LeftAlone {
  std::string name;
  std::optional<int64_t> channels, pinned;  ///< Of the layer, and those that stay.
  std::string reason;
};

/// Channels of `graph` that pruning cannot take, then nodes that are not costed.
std::vector<LeftAlone> left_alone(const Graph& graph, const Cost& cost);

}  // namespace pare
