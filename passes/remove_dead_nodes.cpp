#include "passes/remove_dead_nodes.h"

#include "passes/graph_edit.h"

namespace pare {
namespace {

class RemoveDeadNodes final : public Pass {
 public:
  std::string_view name() const override { return "remove-dead-nodes"; }
  Effect effect() const override { return Effect::kExact; }
  PassStats run(Graph& graph, PassContext&) override {
    return {{"nodes removed", remove_unused_nodes(graph)}};
  }
};

}  // namespace

std::unique_ptr<Pass> make_remove_dead_nodes() { return std::make_unique<RemoveDeadNodes>(); }

}  // namespace pare
