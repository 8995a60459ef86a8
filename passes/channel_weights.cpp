#include "passes/channel_weights.h"

#include "passes/graph_edit.h"

namespace pare {
namespace {

bool is_set(const Node& node, const char* key) { return node.attribute(key, int64_t{0}) != 0; }

/// True when the bias is left out or a constant with one number per output channel.
bool has_plain_bias(const Graph& graph, const Node& node, int64_t outputs) {
  if (!node.has_input(2)) return true;
  const Tensor* bias = graph.constant(node.inputs[2]);
  if (!is_wide_float(bias)) return false;
  if (node.op != "Gemm") return bias->shape() == Shape{outputs};
  return per_channel(*bias, {1, outputs}).has_value();
}

}  // namespace

bool is_unpadded(const Node& node) {
  if (node.op == "Gemm") return !is_set(node, "transA");
  if (node.op != "Conv") return false;
  const std::string mode = node.attribute("auto_pad", "NOTSET");
  if (mode == "VALID") return true;
  const std::vector<int64_t> pads = node.attribute("pads", std::vector<int64_t>{});
  return mode == "NOTSET" && std::ranges::all_of(pads, [](int64_t pad) { return pad == 0; });
}

bool is_wide_float(const Tensor* tensor) {
  return tensor && (tensor->dtype() == DType::kF32 || tensor->dtype() == DType::kF64);
}

std::optional<Numbers> per_channel(const Tensor& constant, const Shape& shape) {
  const Shape& extents = constant.shape();
  if (shape.size() < 2 || extents.size() > shape.size() || !is_wide_float(&constant)) return {};
  const size_t skipped = shape.size() - extents.size();
  for (size_t i = 0; i < extents.size(); ++i) {
    const bool channel = skipped + i == 1 && extents[i] == shape[1];
    if (extents[i] != 1 && !channel) return {};
  }
  Numbers numbers = to_double(constant);
  if (numbers.size() == 1) numbers.assign(static_cast<size_t>(shape[1]), numbers[0]);
  return numbers;
}

std::optional<ChannelWeights> ChannelWeights::of(const Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  if (!node.def || !node.domain.empty() || node.inputs.size() < 2 || node.inputs.size() > 3)
    return {};
  const Tensor* w = graph.constant(node.inputs[1]);
  if (!is_wide_float(w) || w->size() == 0) return {};
  const Shape& shape = w->shape();
  ChannelWeights result{.node = id};
  if (node.op == "Gemm") {
    const bool transposed = is_set(node, "transB");
    result.inputs = shape[transposed ? 1 : 0];
    result.outputs = shape[transposed ? 0 : 1];
  } else if (node.op == "Conv" || node.op == "ConvTranspose") {
    const int64_t group = node.attribute("group", int64_t{1});
    if (shape.size() < 3 || group < 1) return {};
    const bool transposed = node.op == "ConvTranspose";
    result.inputs = transposed ? shape[0] : shape[1] * group;
    result.outputs = transposed ? shape[1] * group : shape[0];
  } else {
    return {};
  }
  if (!has_plain_bias(graph, node, result.outputs)) return {};
  return result;
}

Numbers ChannelWeights::weights(const Graph& graph) const {
  return to_double(*graph.constant(graph.node(node).inputs[1]));
}

Numbers ChannelWeights::bias(const Graph& graph) const {
  const Node& target = graph.node(node);
  if (!target.has_input(2)) return Numbers(static_cast<size_t>(outputs), 0);
  Numbers bias = *per_channel(*graph.constant(target.inputs[2]), {1, outputs});
  const double beta = target.op == "Gemm" ? target.attribute("beta", 1.0f) : 1.0f;
  for (double& b : bias) b *= beta;
  return bias;
}

void ChannelWeights::set(Graph& graph, const Numbers& weights, const Numbers& bias) const {
  const TensorType type = graph.constant(graph.node(node).inputs[1])->type();
  replace_constant(graph, node, 1, from_double(weights, type));
  Tensor tensor = from_double(bias, {type.dtype, {static_cast<int64_t>(bias.size())}});
  if (graph.node(node).has_input(2)) {
    replace_constant(graph, node, 2, std::move(tensor));
  } else if (std::ranges::any_of(bias, [](double b) { return b != 0; })) {
    const std::string& w = graph.value(graph.node(node).inputs[1]).name;
    graph.set_input(node, 2, graph.add_constant(w + "_bias", std::move(tensor)));
  }
  graph.remove_attribute(node, "beta");  // bias() has multiplied it in.
}

}  // namespace pare
