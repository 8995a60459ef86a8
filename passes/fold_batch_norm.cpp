#include "passes/fold_batch_norm.h"

#include <algorithm>
#include <cmath>

#include "passes/graph_edit.h"

namespace pare {
namespace {

using Numbers = std::vector<double>;

/// y = scale x + shift for each channel (axis 1).
struct Affine {
  ValueId x;
  Numbers scale, shift;
};

/// A Conv, ConvTranspose or Gemm with constant parameters that can be changed.
struct Weighted {
  NodeId node;
  int64_t inputs = 0, outputs = 0;  ///< Channels.
};

bool is_wide_float(const Tensor* tensor) {
  return tensor && (tensor->dtype() == DType::kF32 || tensor->dtype() == DType::kF64);
}

bool all_finite(const Numbers& numbers) {
  return std::ranges::all_of(numbers, [](double x) { return std::isfinite(x); });
}

// -- What is folded ------------------------------------------------------------------------------

/// The number of each channel, when `constant` holds one per channel or one for all, broadcast
/// against `shape` without enlarging it.
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

std::optional<Affine> batch_norm(const Graph& graph, const Node& node) {
  if (node.inputs.size() != 5 || node.attribute("training_mode", int64_t{0}) != 0) return {};
  for (size_t i = 1; i < node.outputs.size(); ++i) {
    if (node.has_output(i) &&
        (!graph.value(node.outputs[i]).uses.empty() || graph.is_output(node.outputs[i])))
      return {};
  }
  std::vector<Numbers> parameters;
  for (size_t i = 1; i < 5; ++i) {
    if (!is_wide_float(graph.constant(node.inputs[i]))) return {};
    parameters.push_back(to_double(*graph.constant(node.inputs[i])));
  }
  const Numbers &scale = parameters[0], &bias = parameters[1], &mean = parameters[2],
                &var = parameters[3];
  const auto epsilon = static_cast<double>(node.attribute("epsilon", 1e-5f));
  Affine affine{.x = node.inputs[0]};
  for (size_t c = 0; c < scale.size(); ++c) {
    const double s = scale[c] / std::sqrt(var[c] + epsilon);
    affine.scale.push_back(s);
    affine.shift.push_back(bias[c] - mean[c] * s);
  }
  return affine;
}

/// Add, Sub, Mul or Div of a value and a constant per channel.
std::optional<Affine> arithmetic(const Graph& graph, const Node& node) {
  if (node.inputs.size() != 2 || !node.has_input(0) || !node.has_input(1)) return {};
  const size_t at = graph.constant(node.inputs[1]) ? 1 : 0;
  const Tensor* constant = graph.constant(node.inputs[at]);
  const ValueId x = node.inputs[1 - at];
  if (!constant || graph.constant(x) || !graph.type(x).known()) return {};
  if (graph.type(x) != graph.type(node.outputs[0])) return {};
  const std::optional<Numbers> numbers = per_channel(*constant, graph.type(x).shape);
  if (!numbers) return {};
  Affine affine{x, Numbers(numbers->size(), 1), Numbers(numbers->size(), 0)};
  for (size_t c = 0; c < numbers->size(); ++c) {
    const double number = (*numbers)[c];
    if (node.op == "Add") {
      affine.shift[c] = number;
    } else if (node.op == "Mul") {
      affine.scale[c] = number;
    } else if (node.op == "Sub") {
      affine.scale[c] = at == 1 ? 1 : -1;
      affine.shift[c] = at == 1 ? -number : number;
    } else if (node.op == "Div" && at == 1) {
      affine.scale[c] = 1 / number;
    } else {
      return {};
    }
  }
  return affine;
}

std::optional<Affine> affine_of(const Graph& graph, const Node& node) {
  if (!node.def || !node.domain.empty()) return {};
  std::optional<Affine> affine =
      node.op == "BatchNormalization" ? batch_norm(graph, node) : arithmetic(graph, node);
  if (!affine || !all_finite(affine->scale) || !all_finite(affine->shift)) return {};
  return affine;
}

// -- What it is folded into ----------------------------------------------------------------------

bool is_set(const Node& node, const char* key) { return node.attribute(key, int64_t{0}) != 0; }

/// True when the bias is left out or a constant with one number per output channel.
bool has_plain_bias(const Graph& graph, const Node& node, int64_t outputs) {
  if (!node.has_input(2)) return true;
  const Tensor* bias = graph.constant(node.inputs[2]);
  if (!is_wide_float(bias)) return false;
  if (node.op != "Gemm") return bias->shape() == Shape{outputs};
  return per_channel(*bias, {1, outputs}).has_value();
}

std::optional<Weighted> weighted(const Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  if (!node.def || !node.domain.empty() || node.inputs.size() < 2 || node.inputs.size() > 3)
    return {};
  const Tensor* w = graph.constant(node.inputs[1]);
  if (!is_wide_float(w) || w->size() == 0) return {};
  const Shape& shape = w->shape();
  Weighted result{.node = id};
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

/// Input and output channel of every weight, in storage order.
template <typename Body>
void for_each_weight(const Node& node, const Shape& w, const Body& body) {
  const int64_t group = node.op == "Gemm" ? 1 : node.attribute("group", int64_t{1});
  const bool output_first = node.op == "Gemm" ? is_set(node, "transB") : node.op == "Conv";
  int64_t inner = 1;
  for (size_t axis = 2; axis < w.size(); ++axis) inner *= w[axis];
  const int64_t per_group = w[0] / group;  // Channels of axis 0 in one group.
  size_t i = 0;
  for (int64_t a = 0; a < w[0]; ++a) {
    for (int64_t b = 0; b < w[1]; ++b) {
      const int64_t other = (a / std::max<int64_t>(per_group, 1)) * w[1] + b;
      const auto input = static_cast<size_t>(output_first ? other : a);
      const auto output = static_cast<size_t>(output_first ? a : other);
      for (int64_t k = 0; k < inner; ++k) body(i++, input, output);
    }
  }
}

/// The bias of every output channel as it is added in the end.
Numbers bias_of(const Graph& graph, const Weighted& target) {
  const Node& node = graph.node(target.node);
  if (!node.has_input(2)) return Numbers(static_cast<size_t>(target.outputs), 0);
  Numbers bias = *per_channel(*graph.constant(node.inputs[2]), {1, target.outputs});
  const double beta = node.op == "Gemm" ? node.attribute("beta", 1.0f) : 1.0f;
  for (double& b : bias) b *= beta;
  return bias;
}

void set_parameters(Graph& graph, NodeId id, const Numbers& weights, const Numbers& bias) {
  const TensorType type = graph.constant(graph.node(id).inputs[1])->type();
  replace_constant(graph, id, 1, from_double(weights, type));
  Tensor tensor = from_double(bias, {type.dtype, {static_cast<int64_t>(bias.size())}});
  if (graph.node(id).has_input(2)) {
    replace_constant(graph, id, 2, std::move(tensor));
  } else {
    const std::string& w = graph.value(graph.node(id).inputs[1]).name;
    graph.set_input(id, 2, graph.add_constant(w + "_bias", std::move(tensor)));
  }
  graph.remove_attribute(id, "beta");  // bias_of() has multiplied it in.
}

// -- Folding -------------------------------------------------------------------------------------

/// The weighted node before `affine`, when nothing else sees its output.
std::optional<Weighted> target_before(const Graph& graph, const Affine& affine) {
  const std::optional<NodeId> producer = graph.value(affine.x).producer;
  if (!producer || !graph.sole_user(affine.x)) return {};
  const std::optional<Weighted> target = weighted(graph, *producer);
  if (!target || target->outputs != static_cast<int64_t>(affine.scale.size())) return {};
  return target;
}

void fold_after(Graph& graph, const Weighted& target, const Affine& affine) {
  const Node& node = graph.node(target.node);
  const Tensor& w = *graph.constant(node.inputs[1]);
  Numbers weights = to_double(w);
  for_each_weight(node, w.shape(),
                  [&](size_t i, size_t, size_t output) { weights[i] *= affine.scale[output]; });
  Numbers bias = bias_of(graph, target);
  for (size_t c = 0; c < bias.size(); ++c) bias[c] = bias[c] * affine.scale[c] + affine.shift[c];
  set_parameters(graph, target.node, weights, bias);
}

bool is_unpadded(const Node& node) {
  if (node.op == "Gemm") return !is_set(node, "transA");
  if (node.op != "Conv") return false;
  const std::string mode = node.attribute("auto_pad", "NOTSET");
  if (mode == "VALID") return true;
  const std::vector<int64_t> pads = node.attribute("pads", std::vector<int64_t>{});
  return mode == "NOTSET" && std::ranges::all_of(pads, [](int64_t pad) { return pad == 0; });
}

/// The unpadded weighted node that alone uses `y`.
std::optional<Weighted> target_behind(const Graph& graph, ValueId y, const Affine& affine) {
  const std::optional<NodeId> user = graph.sole_user(y);
  if (!user || graph.node(*user).inputs[0] != y || !is_unpadded(graph.node(*user))) return {};
  const std::optional<Weighted> target = weighted(graph, *user);
  if (!target || target->inputs != static_cast<int64_t>(affine.scale.size())) return {};
  return target;
}

void fold_before(Graph& graph, const Weighted& target, const Affine& affine) {
  const Node& node = graph.node(target.node);
  const Tensor& w = *graph.constant(node.inputs[1]);
  const double alpha = node.op == "Gemm" ? node.attribute("alpha", 1.0f) : 1.0f;
  Numbers weights = to_double(w), bias = bias_of(graph, target);
  for_each_weight(node, w.shape(), [&](size_t i, size_t input, size_t output) {
    bias[output] += alpha * weights[i] * affine.shift[input];
    weights[i] *= affine.scale[input];
  });
  set_parameters(graph, target.node, weights, bias);
}

class FoldBatchNorm final : public Pass {
 public:
  std::string_view name() const override { return "fold-batch-norm"; }
  Effect effect() const override { return Effect::kExact; }

  PassStats run(Graph& graph, PassContext&) override {
    int64_t norms = 0, arithmetic = 0, left = 0;
    for (const NodeId id : std::vector(graph.order())) {  // A copy: nodes are removed.
      const bool norm = graph.node(id).op == "BatchNormalization";
      const bool folded = fold(graph, id);
      norms += folded && norm;
      arithmetic += folded && !norm;
      left += !folded && norm;
    }
    graph.infer_types();
    return {{"batch norms folded", norms},
            {"batch norms left", left},
            {"channel arithmetic folded", arithmetic}};
  }

 private:
  static bool fold(Graph& graph, NodeId id) {
    const std::optional<Affine> affine = affine_of(graph, graph.node(id));
    if (!affine) return false;
    const ValueId y = graph.node(id).outputs[0];
    if (const auto before = target_before(graph, *affine)) {
      fold_after(graph, *before, *affine);
    } else if (const auto behind = target_behind(graph, y, *affine)) {
      fold_before(graph, *behind, *affine);
    } else {
      return false;
    }
    graph.replace_uses(y, affine->x);
    graph.remove_node(id);
    return true;
  }
};

}  // namespace

std::unique_ptr<Pass> make_fold_batch_norm() { return std::make_unique<FoldBatchNorm>(); }

}  // namespace pare
