// QLinear operators say in one node what DequantizeLinear, an operator and QuantizeLinear say in
// several: operands come with scale and zero point, the result gets its own.

#include "exec/quantized.h"

namespace pare {
namespace {

constexpr std::string_view kContrib = "com.microsoft";

bool is_op(const Node& node, std::string_view domain, std::string_view op) {
  return node.domain == domain && node.op == op;
}

ValueId operand(const Node& node, size_t slot) {
  return node.has_input(slot) ? node.inputs[slot] : kNoValue;
}

/// The computed operand at `slot`, its scale and zero point behind it.
bool add_input(const Graph& graph, const Node& node, size_t slot, QuantizedNode& found) {
  const ValueId stored = operand(node, slot);
  if (stored == kNoValue || graph.constant(stored)) return false;
  const std::optional<StoredValue> value =
      stored_value(graph, stored, operand(node, slot + 1), operand(node, slot + 2));
  if (value) found.inputs.push_back(*value);
  return value.has_value();
}

bool set_output(const Graph& graph, const Node& node, size_t scale, QuantizedNode& found) {
  found.output =
      stored_value(graph, node.outputs[0], operand(node, scale), operand(node, scale + 1));
  return found.output.has_value();
}

/// Int8 weights at `slot`, `outputs` along `axis`, with one scale or one for each output.
bool add_weights(const Graph& graph, const Node& node, size_t slot, size_t axis,
                 QuantizedNode& found) {
  found.weights = operand(node, slot);
  const ValueId scale = operand(node, slot + 1);
  if (found.weights == kNoValue || scale == kNoValue) return false;
  const Tensor* weights = graph.constant(found.weights);
  const Tensor* scales = graph.constant(scale);
  if (!weights || !scales || weights->dtype() != DType::kI8 || weights->shape().size() <= axis ||
      scales->dtype() != DType::kF32 || !is_zero(graph, operand(node, slot + 2)))
    return false;
  const int64_t outputs = weights->shape()[axis];
  if (scales->size() != 1 && (scales->size() != outputs || scales->shape().back() != outputs))
    return false;
  found.weight_scales.assign(scales->data<float>().begin(), scales->data<float>().end());
  return true;
}

/// An int32 for each output, or none.
bool add_bias(const Graph& graph, const Node& node, size_t slot, int64_t outputs,
              QuantizedNode& found) {
  if (!node.has_input(slot)) return true;
  const Tensor* bias = graph.constant(node.inputs[slot]);
  if (!bias || bias->dtype() != DType::kI32 || bias->size() != outputs ||
      bias->shape().back() != outputs)
    return false;
  found.bias = node.inputs[slot];
  return true;
}

bool convolution(const Graph& graph, const Node& node, QuantizedNode& found) {
  return add_input(graph, node, 0, found) && add_weights(graph, node, 3, 0, found) &&
         set_output(graph, node, 6, found) &&
         add_bias(graph, node, 8, graph.constant(found.weights)->shape()[0], found);
}

bool product(const Graph& graph, const Node& node, QuantizedNode& found) {
  const bool gemm = node.op == "QGemm";
  const size_t axis = node.attribute<int64_t>("transB", 0) != 0 ? 0 : 1;
  if (node.attribute<int64_t>("transA", 0) != 0 || node.attribute("alpha", 1.0f) != 1) return false;
  if (!add_input(graph, node, 0, found) || !add_weights(graph, node, 3, axis, found)) return false;
  const Shape& weights = graph.constant(found.weights)->shape();
  if (weights.size() != 2) return false;
  if (!gemm) return set_output(graph, node, 6, found);
  if (!add_bias(graph, node, 6, weights[axis], found)) return false;
  return !node.has_input(8) || set_output(graph, node, 7, found);
}

bool addition(const Graph& graph, const Node& node, QuantizedNode& found) {
  found.kind = QuantizedNode::Kind::kAdd;
  return add_input(graph, node, 0, found) && add_input(graph, node, 3, found) &&
         graph.type(node.inputs[0]) == graph.type(node.inputs[3]) &&
         set_output(graph, node, 6, found);
}

/// On stored numbers, whatever they stand for.
bool max_pool(const Graph& graph, const Node& node, QuantizedNode& found) {
  found.kind = QuantizedNode::Kind::kMaxPool;
  const DType dtype = graph.type(node.inputs[0]).dtype;
  if ((dtype != DType::kU8 && dtype != DType::kI8) || node.has_output(1)) return false;
  found.inputs = {{.id = node.inputs[0]}};
  found.output = StoredValue{.id = node.outputs[0]};
  return true;
}

}  // namespace

std::optional<QuantizedNode> qlinear_node(const Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  QuantizedNode found{.node = id, .nodes = {id}};
  bool fits = false;
  if (is_op(node, "", "QLinearConv")) fits = convolution(graph, node, found);
  if (is_op(node, "", "QLinearMatMul") || is_op(node, kContrib, "QGemm"))
    fits = product(graph, node, found);
  if (is_op(node, kContrib, "QLinearAdd")) fits = addition(graph, node, found);
  if (is_op(node, "", "MaxPool")) fits = max_pool(graph, node, found);
  return fits ? std::optional(std::move(found)) : std::nullopt;
}

}  // namespace pare
