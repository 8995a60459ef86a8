// inspect MODEL: what one inference costs.
#include <iostream>

#include "cost/cost.h"
#include "importers/onnx/import.h"
#include "ops/ops.h"

int main(int, char** argv) {
  const pare::Graph graph = pare::import_onnx(argv[1], pare::onnx_ops());
  std::cout << pare::estimate_cost(graph, {}).totals.gop() << " GOP\n";
}
