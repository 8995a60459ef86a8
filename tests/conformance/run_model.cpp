// Runs a model for models.py and says what was inferred about it.
//
//   run_model MODEL FOLDER
//
// Reads FOLDER/input_<i>.npy in the order of the inputs and writes FOLDER/output_<i>.npy (of the
// interpreter), FOLDER/plan_<i>.npy (of the compiled plan) and FOLDER/values.tsv: name, inferred
// type and (at the bound dims) whether it depends on a symbolic dim, of every value. Holds the
// inferred against the actual types on the way. Exit code 0, 4 when the model cannot be run, 1 for
// what must not be; the sentence is on stderr.

#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include "calib/npy.h"
#include "conformance/inference.h"
#include "exec/plan.h"
#include "importers/onnx/import.h"
#include "ops/ops.h"

namespace {

namespace fs = std::filesystem;
using pare::Graph;
using pare::Tensor;
using pare::ValueId;

void write_values(const Graph& graph, const fs::path& file) {
  std::ofstream out(file);
  for (pare::NodeId id : graph.order()) {
    for (ValueId output : graph.node(id).outputs) {
      if (output == pare::kNoValue) continue;
      const pare::Value& value = graph.value(output);
      out << value.name << '\t' << to_string(value.type) << '\t' << (value.dynamic ? 1 : 0) << '\n';
    }
  }
}

void write(const fs::path& prefix, const std::vector<Tensor>& tensors) {
  for (size_t i = 0; i < tensors.size(); ++i)
    pare::write_npy(prefix.string() + std::to_string(i) + ".npy", tensors[i]);
}

void run(const std::string& model, const fs::path& folder) {
  const Graph graph = pare::import_onnx(model, pare::onnx_ops());
  pare::verify(graph);
  write_values(graph, folder / "values.tsv");
  std::vector<Tensor> inputs;
  for (size_t i = 0; i < graph.inputs().size(); ++i)
    inputs.push_back(pare::read_npy((folder / ("input_" + std::to_string(i) + ".npy")).string()));
  const auto check = [&](ValueId id, const Tensor& tensor) {
    const std::string wrong = pare::conformance::contradiction(graph.value(id), tensor);
    if (!wrong.empty()) throw pare::Error(pare::ErrorKind::kInternal, wrong);
  };
  const std::vector<Tensor> outputs = execute(graph, inputs, check);
  write(folder / "output_", outputs);
  std::vector<pare::Shape> shapes;
  for (const Tensor& input : inputs) shapes.push_back(input.shape());
  const pare::Plan plan(graph, {.input_shapes = shapes});
  write(folder / "plan_", plan.run(inputs));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: run_model MODEL FOLDER\n";
    return 2;
  }
  try {
    run(argv[1], argv[2]);
  } catch (const pare::Error& error) {
    std::cerr << error.what() << "\n";
    return error.kind() == pare::ErrorKind::kUnsupported ? 4 : 1;
  }
  return 0;
}
