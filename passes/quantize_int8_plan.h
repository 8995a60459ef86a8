#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "ir/graph.h"
#include "passes/graph_section.h"

namespace pare {

/// Which nodes compute in INT8 and which values are stored so.
struct QuantPlan {
  /// Nodes in order, without the activations fused into them.
  std::vector<NodeId> nodes;
  /// Computed values and graph inputs that get a QuantizeLinear, ascending.
  std::vector<ValueId> values;
  /// By value: the one that names its code; values of one representative share scale and zero
  /// point.
  std::vector<ValueId> code_of;
  /// By node: computes in INT8 and reads its operands through DequantizeLinear.
  std::vector<bool> quantized;
  /// By node: a Relu or Clip that follows an INT8 node without a pair between.
  std::vector<bool> fused;
  /// Bits of the weights of weighted nodes; eight where there is no entry.
  std::map<NodeId, int> weight_bits;
  /// Why nodes that multiply, or could be INT8, stay in float.
  std::map<NodeId, std::string> left;

  /// True when an INT8 kernel makes `id`, so that all its users read the stored form.
  bool made_quantized(const Graph& graph, ValueId id) const;
  int bits(NodeId id) const;
};

/// Operand slots of an INT8 node that are quantized: 0 and 1 of weighted nodes (their bias is a
/// case of its own), every operand of rescaling ones, 0 of the others.
std::vector<size_t> quantized_slots(const Graph& graph, const Node& node);

/// By node: weighted nodes of the section before which it has none, or behind which it has none.
std::vector<bool> edge_nodes(const Graph& graph, const GraphSection& section);

/// True for a sum or Concat, whose operands hardware that cannot rescale wants in one code.
bool shares_one_code(const Node& node);

/// Decides what is quantized of a section of the graph. `wanted` says for a node, by name and op,
/// whether the user wants it; `blocked` nodes stay in float for a reason found before.
///
/// Weighted nodes always are. Rescaling ones and those that pass through are where their operands
/// come from INT8 nodes and somebody INT8 uses the result: elsewhere a pair costs accuracy (the
/// epsilon of a decomposed LayerNormalization) and saves nothing. A Gemm or MatMul may leave its
/// result in float, and the Add of a constant behind a MatMul is always done there; a Conv may not,
/// for ONNX Runtime would not fuse it.
///
/// With `power_of_two` the operands of sums have one code, and those of a Concat its result's; and
/// a pool is quantized with its factor where it has one (power_of_two.h), else not.
QuantPlan plan_quantization(const Graph& graph, const GraphSection& section,
                            const std::function<bool(const Node&)>& wanted,
                            const std::map<NodeId, std::string>& blocked, bool power_of_two);

}  // namespace pare
