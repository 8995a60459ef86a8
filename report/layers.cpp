#include "report/layers.h"

#include <algorithm>
#include <map>

#include "cost/precision.h"
#include "passes/explain_channels.h"
#include "report/model_report.h"

namespace pare {
namespace {

/// Axis 1 of images and vectors, the last axis of sequences [N, T, C].
int64_t channels_of(const Graph& graph, const Node& node) {
  if (node.outputs.empty() || node.outputs[0] == kNoValue) return 0;
  const TensorType& type = graph.type(node.outputs[0]);
  if (!type.known() || type.shape.size() < 2) return 0;
  return type.shape.size() == 3 ? type.shape[2] : type.shape[1];
}

int weight_bits(const LayerCost& layer) {
  if (layer.weight_bits > 0) return layer.weight_bits;
  return layer.weight_type == DType::kUndefined ? 0 : Precision::of(layer.weight_type).bits;
}

LayerChange::Side side_of(const Graph& graph, const LayerCost& layer) {
  return {.cost = layer.cost,
          .channels = channels_of(graph, graph.node(layer.node)),
          .weight_type =
              layer.weight_type == DType::kUndefined ? std::string() : weight_precision(layer),
          .weight_bits = weight_bits(layer)};
}

bool works(const LayerCost& layer) {
  return !layer.free &&
         (layer.cost.macs > 0 || layer.cost.other_ops > 0 || layer.cost.weight_bytes > 0);
}

}  // namespace

std::vector<LayerChange> compare_layers(const CostedGraph& before, const CostedGraph& after,
                                        const Lineage& lineage,
                                        const std::vector<LayerMeasure>& measures) {
  std::vector<LayerChange> changes;
  std::map<NodeId, size_t> place;
  for (const LayerCost& layer : before.cost.layers) {
    if (!works(layer)) continue;
    const Node& node = before.graph.node(layer.node);
    place[layer.node] = changes.size();
    changes.push_back(
        {layer_name(before.graph, node), node.op, side_of(before.graph, layer), {}, {}});
  }
  for (const LayerMeasure& measure : measures)
    if (const auto at = place.find(measure.layer); at != place.end())
      changes[at->second].measure = measure;
  for (const LayerCost& layer : after.cost.layers) {
    if (!works(layer)) continue;
    const Node& node = after.graph.node(layer.node);
    // Itself, where it was there before, else the first it stands for that has no other side yet.
    std::vector<NodeId> sides = {layer.node};
    const std::vector<NodeId>& origins = lineage.origins(layer.node);
    sides.insert(sides.end(), origins.begin(), origins.end());
    const auto side = std::ranges::find_if(sides, [&](NodeId id) {
      const auto at = place.find(id);
      return at != place.end() && !changes[at->second].after;
    });
    if (side != sides.end()) {
      changes[place.at(*side)].after = side_of(after.graph, layer);
    } else {
      changes.push_back(
          {layer_name(after.graph, node), node.op, {}, side_of(after.graph, layer), {}});
    }
  }
  return changes;
}

std::vector<NodeOrigin> node_origins(const Graph& before, const Graph& after,
                                     const Lineage& lineage) {
  std::vector<NodeOrigin> origins;
  for (const NodeId id : after.order()) {
    NodeOrigin& origin = origins.emplace_back(
        NodeOrigin{layer_name(after, after.node(id)), after.node(id).op, {}, lineage.made_by(id)});
    for (const NodeId old : lineage.origins(id))
      origin.stands_for.push_back(layer_name(before, before.node(old)));
  }
  return origins;
}

std::vector<RemovedNode> removed_nodes(const Graph& before, const Lineage& lineage) {
  std::vector<RemovedNode> removed;
  for (const auto& [id, pass] : lineage.removed())
    removed.push_back({layer_name(before, before.node(id)), before.node(id).op, pass});
  return removed;
}

std::vector<LeftAlone> left_alone(const Graph& graph, const Cost& cost) {
  std::vector<LeftAlone> list;
  for (const PinnedChannels& pin : explain_channels(graph, {}).pinned)
    list.push_back({layer_name(graph, graph.node(pin.node)), pin.channels, pin.pinned,
                    "cannot be pruned: " + pin.reason});
  for (const NodeId id : cost.uncosted)
    list.push_back(
        {layer_name(graph, graph.node(id)),
         {},
         {},
         graph.node(id).op + " is an unknown operator or of unknown shape: not counted"});
  return list;
}

}  // namespace pare
