#include "exec/quantized.h"

#include <algorithm>
#include <cmath>

namespace pare {
namespace {

bool is_op(const Node& node, std::string_view op) { return node.op == op && node.domain.empty(); }
bool is_byte(DType dtype) { return dtype == DType::kU8 || dtype == DType::kI8; }

/// Of a QuantizeLinear or DequantizeLinear.
std::optional<StoredValue> per_tensor(const Graph& graph, const Node& node, ValueId stored) {
  return stored_value(graph, stored, node.inputs[1], node.has_input(2) ? node.inputs[2] : kNoValue);
}

class Matcher {
 public:
  Matcher(const Graph& graph, const std::vector<bool>& kept) : graph_(graph), kept_(kept) {}

  std::optional<QuantizedNode> match(NodeId id) const {
    const Node& node = graph_.node(id);
    QuantizedNode found{.node = id, .nodes = {id}};
    bool fits = false;
    if (is_op(node, "Conv") || is_op(node, "Gemm") || is_op(node, "MatMul")) {
      found.kind = QuantizedNode::Kind::kWeighted;
      fits = add_input(found, node.inputs[0]) && add_weights(found, node) && add_bias(found, node);
    } else if (is_op(node, "Add")) {
      found.kind = QuantizedNode::Kind::kAdd;
      fits = add_input(found, node.inputs[0]) && add_input(found, node.inputs[1]) &&
             graph_.type(node.inputs[0]) == graph_.type(node.inputs[1]);
    } else if (is_op(node, "MaxPool")) {
      found.kind = QuantizedNode::Kind::kMaxPool;
      fits = !node.has_output(1) && add_input(found, node.inputs[0]);
    }
    if (!fits) return {};
    follow(found);
    if (!found.output && found.kind != QuantizedNode::Kind::kWeighted) return {};
    if (found.kind == QuantizedNode::Kind::kMaxPool && !keeps_numbers(found)) return {};
    return found;
  }

 private:
  const Node* dequantizer(ValueId id) const {
    if (id == kNoValue || !graph_.value(id).producer) return nullptr;
    const Node& node = graph_.node(*graph_.value(id).producer);
    return is_op(node, "DequantizeLinear") ? &node : nullptr;
  }

  bool add_input(QuantizedNode& found, ValueId id) const {
    const Node* node = dequantizer(id);
    if (!node || graph_.constant(node->inputs[0])) return false;
    const std::optional<StoredValue> stored = per_tensor(graph_, *node, node->inputs[0]);
    if (stored) found.inputs.push_back(*stored);
    return stored.has_value();
  }

  /// Int8 weights with a scale for the tensor or for each output channel, and zero points 0.
  bool add_weights(QuantizedNode& found, const Node& node) const {
    const Node* quantized = dequantizer(node.inputs[1]);
    const Tensor* weights = quantized ? graph_.constant(quantized->inputs[0]) : nullptr;
    const Tensor* scales = quantized ? graph_.constant(quantized->inputs[1]) : nullptr;
    if (!weights || !scales || weights->dtype() != DType::kI8 || scales->dtype() != DType::kF32)
      return false;
    const bool conv = node.op == "Conv";
    const bool transposed = node.attribute<int64_t>("transB", 0) != 0;
    if (!conv && weights->shape().size() != 2) return false;
    const int64_t axis = conv || transposed ? 0 : 1;
    const int64_t outputs = weights->shape()[static_cast<size_t>(axis)];
    if (scales->size() != 1) {
      const auto rank = std::ssize(weights->shape());
      const auto given = quantized->attribute<int64_t>("axis", 1);
      if (scales->size() != outputs || (given + rank) % rank != axis) return false;
    }
    if (quantized->has_input(2) && !is_zero(graph_, quantized->inputs[2])) return false;
    found.weights = quantized->inputs[0];
    found.weight_scales.assign(scales->data<float>().begin(), scales->data<float>().end());
    return true;
  }

  bool add_bias(QuantizedNode& found, const Node& node) const {
    if (node.op == "MatMul") return true;
    if (node.op == "Gemm" &&
        (node.attribute("alpha", 1.0f) != 1 || node.attribute("beta", 1.0f) != 1 ||
         node.attribute<int64_t>("transA", 0) != 0))
      return false;
    if (!node.has_input(2)) return true;
    const Node* quantized = dequantizer(node.inputs[2]);
    const Tensor* bias = quantized ? graph_.constant(quantized->inputs[0]) : nullptr;
    const Tensor* scales = quantized ? graph_.constant(quantized->inputs[1]) : nullptr;
    if (!bias || !scales || bias->dtype() != DType::kI32 || scales->dtype() != DType::kF32 ||
        bias->shape().size() != 1)
      return false;
    // Its scale must be that of the accumulator, or it cannot be added there.
    const auto count = static_cast<size_t>(bias->size());
    for (size_t i = 0; i < count; ++i) {
      const float weight = found.weight_scales[found.weight_scales.size() == 1 ? 0 : i];
      const float given = scales->data<float>()[scales->size() == 1 ? 0 : i];
      if (std::abs(given - weight * found.inputs[0].scale) > 1e-5f * given) return false;
    }
    if (quantized->has_input(2) && !is_zero(graph_, quantized->inputs[2])) return false;
    found.bias = quantized->inputs[0];
    return true;
  }

  std::optional<NodeId> only_user(ValueId id) const {
    if (kept_[index(id)]) return {};
    return graph_.sole_user(id);
  }

  /// Takes in a Relu or Clip and the QuantizeLinear behind it.
  void follow(QuantizedNode& found) const {
    const ValueId result = graph_.node(found.node).outputs[0];
    std::vector<NodeId> nodes = found.nodes;
    std::vector<Curve> curves;
    std::optional<NodeId> user = only_user(result);
    if (user && (is_op(graph_.node(*user), "Relu") || is_op(graph_.node(*user), "Clip"))) {
      curves = curves_of(graph_, graph_.node(*user));
      if (curves.size() != 1) return;
      nodes.push_back(*user);
      user = only_user(graph_.node(*user).outputs[0]);
    }
    if (!user || !is_op(graph_.node(*user), "QuantizeLinear")) return;
    const Node& quantizer = graph_.node(*user);
    found.output = per_tensor(graph_, quantizer, quantizer.outputs[0]);
    if (!found.output) return;
    nodes.push_back(*user);
    found.nodes = std::move(nodes);
    found.curves = std::move(curves);
  }

  static bool keeps_numbers(const QuantizedNode& found) {
    return found.curves.empty() && found.inputs[0].scale == found.output->scale &&
           found.inputs[0].zero_point == found.output->zero_point;
  }

  const Graph& graph_;
  const std::vector<bool>& kept_;
};

}  // namespace

std::optional<StoredValue> stored_value(const Graph& graph, ValueId stored, ValueId scale,
                                        ValueId zero_point) {
  const Tensor* step = graph.constant(scale);
  if (!step || step->dtype() != DType::kF32 || step->size() != 1) return {};
  StoredValue value{.id = stored, .scale = step->data<float>()[0]};
  if (!is_byte(graph.type(stored).dtype) || !graph.type(stored).known()) return {};
  if (zero_point != kNoValue) {
    const Tensor* zero = graph.constant(zero_point);
    if (!zero || zero->size() != 1) return {};
    value.zero_point = static_cast<int32_t>(to_int64(*zero)[0]);
  }
  if (!(value.scale > 0) || !std::isfinite(value.scale)) return {};
  return value;
}

bool is_zero(const Graph& graph, ValueId id) {
  if (id == kNoValue) return true;
  const Tensor* tensor = graph.constant(id);
  return tensor && std::ranges::all_of(to_int64(*tensor), [](int64_t z) { return z == 0; });
}

std::optional<QuantizedNode> quantized_node(const Graph& graph, NodeId id,
                                            const std::vector<bool>& kept) {
  if (std::optional<QuantizedNode> qlinear = qlinear_node(graph, id)) return qlinear;
  return Matcher(graph, kept).match(id);
}

}  // namespace pare
