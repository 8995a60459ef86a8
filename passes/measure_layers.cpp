#include "passes/measure_layers.h"

#include <algorithm>

#include "cost/storage.h"
#include "passes/dequantized.h"

namespace pare {
namespace {

/// The result of `node`, or of what alone reads it, that has an heir.
std::optional<ValueId> lasting_result(const Graph& graph, const Lineage& lineage, NodeId id) {
  for (;;) {
    const Node& node = graph.node(id);
    if (!node.has_output(0)) return {};
    if (lineage.heir(node.outputs[0])) return node.outputs[0];
    const std::optional<NodeId> user = graph.sole_user(node.outputs[0]);
    if (!user || is_weighted(graph.node(*user))) return {};
    id = *user;
  }
}

Distribution distribution_of(const Tensor& tensor) {
  DistributionObserver observer;
  const Tensor wide = cast(tensor, DType::kF32);
  observer.observe(wide.data<float>());
  return observer.distribution();
}

/// Weights of a node as numbers; empty where they are computed otherwise.
std::optional<Tensor> weights_of(const Graph& graph, const Node& node) {
  const size_t slot = weight_slot(node);
  if (!node.has_input(slot)) return {};
  if (const Tensor* constant = graph.constant(node.inputs[slot])) return *constant;
  return dequantized_constant(graph, node.inputs[slot]);
}

/// By node of the original: the weighted node of the result that stands for it.
std::map<NodeId, NodeId> weighted_heirs(const Graph& result, const Lineage& lineage) {
  std::map<NodeId, NodeId> heirs;
  for (const NodeId id : result.order()) {
    if (!is_weighted(result.node(id))) continue;
    for (const NodeId origin : lineage.origins(id)) heirs.emplace(origin, id);
  }
  return heirs;
}

}  // namespace

std::vector<LayerMeasure> measure_layers(const Graph& original, const Graph& result,
                                         const Lineage& lineage, const Dataset& data,
                                         const MeasureOptions& options) {
  const std::map<NodeId, NodeId> heirs = weighted_heirs(result, lineage);
  std::vector<LayerMeasure> measures;
  std::vector<ValuePair> pairs;
  for (const NodeId id : original.order()) {
    const Node& node = original.node(id);
    const std::optional<Tensor> weights =
        is_weighted(node) ? weights_of(original, node) : std::nullopt;
    const std::optional<ValueId> value =
        weights ? lasting_result(original, lineage, id) : std::nullopt;
    if (!value) continue;
    pairs.push_back({*value, *lineage.heir(*value), lineage.survivors(*value)});
    LayerMeasure measure{.layer = id, .weights = distribution_of(*weights)};
    if (const auto now = heirs.find(id); now != heirs.end())
      if (const std::optional<Tensor> left = weights_of(result, result.node(now->second)))
        measure.weights_now = distribution_of(*left);
    measures.push_back(std::move(measure));
  }
  const std::vector<ValueComparison> compared =
      compare_values(original, result, pairs, data, data.spread(options.samples),
                     {.threads = options.threads,
                      .batch = 1,  // All results of a batch are in memory at once.
                      .progress = options.progress,
                      .stage = "measuring layers"});
  for (size_t i = 0; i < measures.size(); ++i) measures[i].result = compared[i];
  std::erase_if(measures, [](const LayerMeasure& m) { return m.result.elements == 0; });
  return measures;
}

}  // namespace pare
