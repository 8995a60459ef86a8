// Reads a model and writes it again, changing nothing. For roundtrip.py.

#include <iostream>
#include <string_view>

#include "exporters/onnx/export.h"
#include "importers/onnx/import.h"
#include "ops/ops.h"

int main(int argc, char** argv) {
  const bool external = argc == 4 && std::string_view(argv[3]) == "--external-data";
  if (argc != 3 && !external) {
    std::cerr << "usage: roundtrip IN OUT [--external-data]\n";
    return 2;
  }
  try {
    const pare::Graph graph = pare::import_onnx(argv[1], pare::onnx_ops());
    pare::verify(graph);
    pare::export_onnx(graph, argv[2], {.external_data = external});
  } catch (const pare::Error& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
  return 0;
}
