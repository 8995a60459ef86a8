#pragma once

#include <optional>
#include <string>
#include <vector>

#include "passes/prune_channels_plan.h"

namespace pare {

/// Channels that are removed by one decision, in a user's terms.
struct ChannelSet {
  Family family;
  std::string name;
  int64_t channels = 0;         ///< On the output of its widest producer.
  int64_t removable = 0;        ///< Of those, as the limits allow.
  std::vector<NodeId> couples;  ///< Where several computed operands carry these channels.
  std::vector<NodeId> through;  ///< Other nodes they flow through.
  double macs = 0;              ///< Of the nodes that shrink with the set.
  double saved = 0;             ///< MACs less when all removable channels of this set only go.
};

/// Output channels of a layer that cannot go, by what keeps them.
struct PinnedChannels {
  NodeId node;
  int64_t channels = 0;      ///< Of the layer.
  int64_t pinned = 0;        ///< Of those, for this reason.
  std::string reason;        ///< A clause that names the node, input or output that needs them.
  std::vector<NodeId> path;  ///< Nodes between the layer and what needs its channels.
};

/// What channel pruning can and cannot do to a network.
struct ChannelMap {
  double macs = 0;
  std::vector<ChannelSet> sets;        ///< In execution order.
  std::vector<PinnedChannels> pinned;  ///< In execution order.
};

/// Works out the sets of channels of a network, and for every layer whose channels must stay which
/// node, input or output pins them and why.
ChannelMap explain_channels(const Graph& graph, const AllocationLimits& limits);

/// What a budget would leave of one set.
struct PlannedSet {
  int64_t kept = 0;            ///< Of ChannelSet::channels.
  double saved = 0;            ///< MACs or parameters less when only this set is pruned so.
  std::optional<double> loss;  ///< Of the outputs, as measured; empty for a set not measured.
};

/// The same of every set of `map`, in its order. `planner` and `map` are of one graph.
std::vector<PlannedSet> explain_plan(const ChannelMap& map, const PrunePlanner& planner,
                                     const PrunePlan& plan);

}  // namespace pare
