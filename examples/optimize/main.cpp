// optimize MODEL SAMPLES PIPELINE OUTPUT: runs a pipeline on a network and writes what comes out.
#include <iostream>

#include "exporters/onnx/export.h"
#include "importers/onnx/import.h"
#include "ops/ops.h"
#include "passes/pass_manager.h"
#include "passes/registry.h"

int main(int, char** argv) {
  pare::Graph graph = pare::import_onnx(argv[1], pare::onnx_ops());
  const pare::Dataset data = pare::Dataset::open(argv[2], {.scale = 1 / 255.0});
  pare::PassManager passes;
  for (const pare::PassSpec& spec : pare::parse_pipeline(argv[3]).passes)
    passes.add(pare::make_pass(spec));
  pare::PassContext context{.data = &data, .threads = 2};
  for (const pare::PassRecord& record : passes.run(graph, context).passes)
    std::cout << record.pass << ": " << record.after.totals.gop() << " GOP\n";
  pare::export_onnx(graph, argv[4]);
}
