// own-pass MODEL OUTPUT: a pass that is not pare's, with everything the pass manager does around
// it.
#include <iostream>

#include "exporters/onnx/export.h"
#include "importers/onnx/import.h"
#include "ops/ops.h"
#include "passes/pass_manager.h"

namespace {

/// Halves what LeakyRelu lets through below zero.
class HalveSlopes final : public pare::Pass {
 public:
  std::string_view name() const override { return "halve-slopes"; }
  pare::Effect effect() const override { return pare::Effect::kLossy; }
  pare::PassStats run(pare::Graph& graph, pare::PassContext&) override {
    int64_t changed = 0;
    for (const pare::NodeId id : graph.order()) {
      if (graph.node(id).op != "LeakyRelu") continue;
      graph.set_attribute(id, "alpha", graph.node(id).attribute("alpha", 0.01f) / 2);
      ++changed;
    }
    return {{"slopes halved", changed}};
  }
};

}  // namespace

int main(int, char** argv) {
  pare::Graph graph = pare::import_onnx(argv[1], pare::onnx_ops());
  pare::PassManager passes;
  passes.add(std::make_unique<HalveSlopes>());
  pare::PassContext context;
  const pare::PassRun run = passes.run(graph, context);
  std::cout << std::get<int64_t>(run.passes[0].stats.at("slopes halved")) << " slopes halved\n";
  pare::export_onnx(graph, argv[2]);
}
