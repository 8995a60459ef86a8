#include "passes/fold_batch_norm.h"

#include <algorithm>
#include <cmath>

#include "passes/channel_weights.h"
#include "passes/graph_edit.h"

namespace pare {
namespace {

/// y = scale x + shift for each channel (axis 1).
struct Affine {
  ValueId x;
  Numbers scale, shift;
};

bool all_finite(const Numbers& numbers) {
  return std::ranges::all_of(numbers, [](double x) { return std::isfinite(x); });
}

// -- What is folded ------------------------------------------------------------------------------

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

// -- Folding -------------------------------------------------------------------------------------

/// The weighted node before `affine`, when nothing else sees its output.
std::optional<ChannelWeights> target_before(const Graph& graph, const Affine& affine) {
  const std::optional<NodeId> producer = graph.value(affine.x).producer;
  if (!producer || !graph.sole_user(affine.x)) return {};
  const std::optional<ChannelWeights> target = ChannelWeights::of(graph, *producer);
  if (!target || target->outputs != static_cast<int64_t>(affine.scale.size())) return {};
  return target;
}

void fold_after(Graph& graph, const ChannelWeights& target, const Affine& affine) {
  const Node& node = graph.node(target.node);
  Numbers weights = target.weights(graph), bias = target.bias(graph);
  for_each_weight(node, graph.shape(node.inputs[1]),
                  [&](size_t i, size_t, size_t output) { weights[i] *= affine.scale[output]; });
  for (size_t c = 0; c < bias.size(); ++c) bias[c] = bias[c] * affine.scale[c] + affine.shift[c];
  target.set(graph, weights, bias);
}

/// The unpadded weighted node that alone uses `y`.
std::optional<ChannelWeights> target_behind(const Graph& graph, ValueId y, const Affine& affine) {
  const std::optional<NodeId> user = graph.sole_user(y);
  if (!user || graph.node(*user).inputs[0] != y || !is_unpadded(graph.node(*user))) return {};
  const std::optional<ChannelWeights> target = ChannelWeights::of(graph, *user);
  if (!target || target->inputs != static_cast<int64_t>(affine.scale.size())) return {};
  return target;
}

void fold_before(Graph& graph, const ChannelWeights& target, const Affine& affine) {
  const Node& node = graph.node(target.node);
  const double alpha = node.op == "Gemm" ? node.attribute("alpha", 1.0f) : 1.0f;
  Numbers weights = target.weights(graph), bias = target.bias(graph);
  for_each_weight(node, graph.shape(node.inputs[1]), [&](size_t i, size_t input, size_t output) {
    bias[output] += alpha * weights[i] * affine.shift[input];
    weights[i] *= affine.scale[input];
  });
  target.set(graph, weights, bias);
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
