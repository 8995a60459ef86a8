#include "report/layers.h"

#include <algorithm>
#include <map>

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

LayerChange::Side side_of(const Graph& graph, const LayerCost& layer) {
  return {.cost = layer.cost,
          .channels = channels_of(graph, graph.node(layer.node)),
          .weight_type =
              layer.weight_type == DType::kUndefined ? std::string() : weight_precision(layer)};
}

bool works(const LayerCost& layer) {
  return !layer.free &&
         (layer.cost.macs > 0 || layer.cost.other_ops > 0 || layer.cost.weight_bytes > 0);
}

}  // namespace

std::vector<LayerChange> compare_layers(const Graph& before, const Cost& cost_before,
                                        const Graph& after, const Cost& cost_after) {
  std::vector<LayerChange> changes;
  std::map<NodeId, size_t> by_id;
  std::map<std::string, size_t> by_name;
  for (const LayerCost& layer : cost_before.layers) {
    if (!works(layer)) continue;
    const Node& node = before.node(layer.node);
    by_id[layer.node] = by_name[layer_name(before, node)] = changes.size();
    changes.push_back({layer_name(before, node), node.op, side_of(before, layer), {}});
  }
  for (const LayerCost& layer : cost_after.layers) {
    if (!works(layer)) continue;
    const Node& node = after.node(layer.node);
    const std::string name = layer_name(after, node);
    const auto same = by_id.find(layer.node);
    const auto named = by_name.find(name);
    if (same != by_id.end()) {
      changes[same->second].after = side_of(after, layer);
    } else if (named != by_name.end() && !changes[named->second].after) {
      changes[named->second].after = side_of(after, layer);
    } else {
      changes.push_back({name, node.op, {}, side_of(after, layer)});
    }
  }
  return changes;
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
