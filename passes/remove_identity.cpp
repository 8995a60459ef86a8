#include "passes/remove_identity.h"

#include <algorithm>
#include <array>

#include "passes/graph_edit.h"

namespace pare {
namespace {

constexpr std::array<std::string_view, 7> kReshaping = {
    "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Expand", "Slice", "Pad"};
constexpr std::array<std::string_view, 5> kJoining = {"Concat", "Sum", "Max", "Min", "Mean"};

bool contains(std::span<const std::string_view> names, const std::string& op) {
  return std::ranges::find(names, op) != names.end();
}

bool same_type(const Graph& graph, const Node& node) {
  const TensorType& in = graph.type(node.inputs[0]);
  return in.known() && in == graph.type(node.outputs[0]);
}

/// Inference: no mode operand or a false one, and nobody reads the mask.
bool is_idle_dropout(const Graph& graph, const Node& node) {
  if (node.has_output(1)) {
    const Value& mask = graph.value(node.outputs[1]);
    if (!mask.uses.empty() || graph.is_output(node.outputs[1])) return false;
  }
  if (node.opset < 7) return node.attribute("is_test", int64_t{0}) != 0;
  if (!node.has_input(2)) return true;
  const Tensor* training = graph.constant(node.inputs[2]);
  return training && training->size() == 1 && to_int64(*training)[0] == 0;
}

bool keeps_order(const Graph& graph, const Node& node) {
  const TensorType& in = graph.type(node.inputs[0]);
  if (!in.ranked) return false;
  const std::vector<int64_t> perm = node.attribute("perm", std::vector<int64_t>{});
  if (perm.empty()) return in.shape.size() < 2;  // Reversed is the same.
  for (size_t i = 0; i < perm.size(); ++i) {
    if (perm[i] != static_cast<int64_t>(i)) return false;
  }
  return true;
}

/// Slice with steps of one that loses nothing, or Pad that adds nothing: the same elements in the
/// same shape. A reversing Slice or one cut here and padded there would keep the shape too.
bool moves_nothing(const Graph& graph, const Node& node) {
  if (node.op == "Slice") {
    if (!node.has_input(4)) return true;
    const Tensor* steps = graph.constant(node.inputs[4]);
    return steps && std::ranges::all_of(to_int64(*steps), [](int64_t step) { return step > 0; });
  }
  if (node.op != "Pad") return true;
  const auto none = [](const std::vector<int64_t>& pads) {
    return std::ranges::all_of(pads, [](int64_t pad) { return pad == 0; });
  };
  if (node.opset < 11) return none(node.attribute("pads", std::vector<int64_t>{}));
  const Tensor* pads = node.has_input(1) ? graph.constant(node.inputs[1]) : nullptr;
  return pads && none(to_int64(*pads));
}

bool is_identity(const Graph& graph, const Node& node) {
  if (!node.def || !node.domain.empty() || !node.has_input(0) || !node.has_output(0)) return false;
  if (node.op == "Identity") return true;
  if (node.op == "Dropout") return is_idle_dropout(graph, node);
  if (node.op == "Transpose") return keeps_order(graph, node);
  if (node.op == "Cast") {
    const DType from = graph.type(node.inputs[0]).dtype;
    return from != DType::kUndefined && from == graph.type(node.outputs[0]).dtype;
  }
  if (contains(kJoining, node.op)) return node.inputs.size() == 1;
  if (!contains(kReshaping, node.op) || !same_type(graph, node)) return false;
  return !graph.value(node.outputs[0]).dynamic && moves_nothing(graph, node);
}

class RemoveIdentity final : public Pass {
 public:
  std::string_view name() const override { return "remove-identity"; }
  Effect effect() const override { return Effect::kExact; }

  PassStats run(Graph& graph, PassContext&) override {
    int64_t removed = 0;
    for (const NodeId id : std::vector(graph.order())) {  // A copy: nodes are removed.
      const Node& node = graph.node(id);
      if (!is_identity(graph, node)) continue;
      if (!can_replace(graph, node.outputs[0], node.inputs[0])) continue;
      graph.replace_uses(node.outputs[0], node.inputs[0]);
      graph.remove_node(id);
      ++removed;
    }
    graph.infer_types();
    return {{"nodes removed", removed}};
  }
};

}  // namespace

std::unique_ptr<Pass> make_remove_identity() { return std::make_unique<RemoveIdentity>(); }

}  // namespace pare
