#include "passes/fuse_activations.h"

#include "exec/activation_pattern.h"
#include "passes/graph_edit.h"

namespace pare {
namespace {

/// The operator of a curve and the opset it came with.
struct Operator {
  std::string_view name;
  int64_t opset;
  Attributes attributes;
};

Operator operator_of(const Curve& curve) {
  if (curve.kind == Curve::Kind::kSwish) return {"Swish", 24, {{"alpha", curve.alpha}}};
  if (curve.kind == Curve::Kind::kHardSwish) return {"HardSwish", 14, {}};
  const bool tanh = curve.kind == Curve::Kind::kGeluTanh;
  return {"Gelu", 20, {{"approximate", std::string(tanh ? "tanh" : "none")}}};
}

class FuseActivations final : public Pass {
 public:
  std::string_view name() const override { return "fuse-activations"; }
  Effect effect() const override { return Effect::kExact; }

  PassStats run(Graph& graph, PassContext&) override {
    PassStats stats = {{"activations fused", int64_t{0}}};
    for (const NodeId id : std::vector(graph.order())) {  // A copy: nodes are inserted.
      const std::optional<ActivationPattern> pattern = activation_pattern(graph, id);
      if (!pattern) continue;
      const Operator found = operator_of(pattern->curve);
      if (graph.opset() < found.opset) {
        add(stats,
            "left, for " + std::string(found.name) + " needs opset " + std::to_string(found.opset));
        continue;
      }
      const ValueId result = graph.node(id).outputs[0];
      graph.replace_uses(result, graph.insert_node(id, found.name, {pattern->x}, found.attributes,
                                                   graph.node(id).name));
      for (auto member = pattern->nodes.rbegin(); member != pattern->nodes.rend(); ++member)
        graph.remove_node(*member);
      add(stats, "activations fused");
    }
    graph.infer_types();
    return stats;
  }

 private:
  static void add(PassStats& stats, const std::string& key) {
    const auto [count, fresh] = stats.emplace(key, int64_t{0});
    ++std::get<int64_t>(count->second);
  }
};

}  // namespace

std::unique_ptr<Pass> make_fuse_activations() { return std::make_unique<FuseActivations>(); }

}  // namespace pare
