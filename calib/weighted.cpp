#include "calib/weighted.h"

namespace pare {
namespace {

int rank(const Graph& graph, ValueId id) { return static_cast<int>(graph.type(id).shape.size()); }

WeightedNode conv(const Node& node, NodeId id, bool transposed) {
  const ValueId x = node.inputs[0], w = node.inputs[1], y = node.outputs[0];
  return {.node = id,
          .input = {x, 1},
          .output = {y, 1},
          .weight_input = {w, transposed ? 0 : 1},
          .weight_output = {w, transposed ? 1 : 0},
          .groups = node.attribute("group", int64_t{1}),
          .bias = node.has_input(2) ? node.inputs[2] : kNoValue};
}

WeightedNode gemm(const Node& node, NodeId id) {
  const bool transpose_a = node.attribute("transA", int64_t{0}) != 0;
  const bool transpose_b = node.attribute("transB", int64_t{0}) != 0;
  const ValueId x = node.inputs[0], w = node.inputs[1], y = node.outputs[0];
  return {.node = id,
          .input = {x, transpose_a ? 0 : 1},
          .output = {y, 1},
          .weight_input = {w, transpose_b ? 1 : 0},
          .weight_output = {w, transpose_b ? 0 : 1},
          .bias = node.has_input(2) ? node.inputs[2] : kNoValue};
}

bool dequantized(const Graph& graph, ValueId w) {
  const std::optional<NodeId> producer = graph.value(w).producer;
  if (!producer || graph.node(*producer).op != "DequantizeLinear") return false;
  return graph.constant(graph.node(*producer).inputs[0]) != nullptr;
}

std::optional<WeightedNode> match_op(const Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  const ValueId x = node.inputs[0], w = node.inputs[1], y = node.outputs[0];
  const int rank_x = rank(graph, x), rank_w = rank(graph, w), rank_y = rank(graph, y);
  if (node.op == "Conv" || node.op == "ConvTranspose") {
    if (rank_x < 3 || rank_w != rank_x || rank_y != rank_x) return {};
    return conv(node, id, node.op == "ConvTranspose");
  }
  if (node.op == "Gemm" && rank_x == 2 && rank_w == 2 && rank_y == 2) return gemm(node, id);
  if (node.op == "MatMul" && rank_x >= 2 && rank_w == 2 && rank_y == rank_x) {
    return WeightedNode{.node = id,
                        .input = {x, rank_x - 1},
                        .output = {y, rank_y - 1},
                        .weight_input = {w, 0},
                        .weight_output = {w, 1}};
  }
  return {};
}

}  // namespace

std::optional<WeightedNode> weighted_node(const Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  if (!node.def || !node.def->domain.empty() || !node.has_input(0) || !node.has_input(1) ||
      !node.has_output(0))
    return {};
  const ValueId x = node.inputs[0], w = node.inputs[1], y = node.outputs[0];
  const bool constant = graph.constant(w) != nullptr;
  if (!constant && !dequantized(graph, w)) return {};
  for (ValueId operand : {x, w, y}) {
    if (!graph.type(operand).known()) return {};
  }
  std::optional<WeightedNode> weighted = match_op(graph, id);
  if (weighted) weighted->constant = constant;
  return weighted;
}

bool is_depthwise(const Graph& graph, const WeightedNode& node) {
  return node.groups > 1 &&
         node.groups == graph.shape(node.input.value)[static_cast<size_t>(node.input.axis)];
}

}  // namespace pare
