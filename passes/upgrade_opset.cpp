#include "passes/upgrade_opset.h"

namespace pare {
namespace {

bool lags(const Node& node, int64_t target) {
  return (node.domain.empty() || node.domain == "ai.onnx") && node.opset < target;
}

}  // namespace

void upgrade_opset(Graph& graph, int64_t target) {
  PARE_CHECK(target >= 13, "upgrade rules start at opset 13");
  if (graph.opset() >= target) return;
  const std::vector<NodeId> order = graph.order();  // An upgrade rule may add nodes.
  for (NodeId id : order) {
    const Node& node = graph.node(id);
    if (lags(node, target) && !node.def)
      throw Error(ErrorKind::kUnsupported, describe(node) + " cannot be converted from opset " +
                                               std::to_string(node.opset) + " to " +
                                               std::to_string(target) +
                                               ", because this tool does not know its forms");
  }
  for (NodeId id : order) {
    const Node& node = graph.node(id);
    if (lags(node, target) && node.def->upgrade)
      with_context([&] { return describe(graph.node(id)); },
                   [&] { node.def->upgrade(graph, id, target); });
  }
  for (NodeId id : graph.order()) {  // Nodes the rules added among them.
    if (lags(graph.node(id), target)) graph.set_node_opset(id, target);
  }
  graph.set_opset("", target);
  graph.infer_types();
}

}  // namespace pare
