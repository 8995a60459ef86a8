#include "conformance/node_case.h"

#include <algorithm>
#include <map>
#include <vector>

#include "conformance/inference.h"
#include "exec/plan.h"
#include "importers/onnx/import.h"
#include "importers/onnx/tensor_file.h"
#include "ops/ops.h"

namespace pare::conformance {
namespace {

namespace fs = std::filesystem;

Outcome fail(std::string reason) { return {Status::kFail, std::move(reason)}; }
Outcome skip(std::string reason) { return {Status::kSkip, std::move(reason)}; }

bool uses_op(const Graph& graph, const std::string& op) {
  return std::ranges::any_of(graph.order(), [&](NodeId id) { return graph.node(id).op == op; });
}

/// Why the tool says it cannot run the graph; empty when it can.
std::string obstacle(const Graph& graph) {
  for (NodeId id : graph.order()) {
    const Node& node = graph.node(id);
    const std::string name = node.domain.empty() ? node.op : node.domain + "." + node.op;
    if (!node.def && !graph.ops().find(node.domain, node.op))
      return "op " + name + " is not in `pare ops`";
    if (!node.def) return "op " + name + " holds a subgraph";
    if (!node.def->eval) return "op " + name + " has no eval";
  }
  for (const auto* ids : {&graph.inputs(), &graph.outputs()}) {
    for (ValueId id : *ids) {
      if (graph.type(id).dtype == DType::kUndefined)
        return "'" + graph.value(id).name + "' is no tensor (sequence, optional or map)";
    }
  }
  return {};
}

/// Reads input_0.pb, input_1.pb, ... as far as they go.
std::vector<Tensor> read_tensors(const fs::path& folder, const std::string& kind) {
  std::vector<Tensor> tensors;
  for (;;) {
    const fs::path file = folder / (kind + "_" + std::to_string(tensors.size()) + ".pb");
    if (!fs::exists(file)) return tensors;
    tensors.push_back(read_tensor_pb(file.string()));
  }
}

/// Test data older than numpy's bfloat16 holds its bits as uint16; gives them their type back.
Tensor as_declared(const Tensor& tensor, const TensorType& declared) {
  const bool bits = tensor.dtype() == DType::kU16 && declared.dtype == DType::kBF16;
  return bits ? tensor.retyped(DType::kBF16) : tensor;
}

using Computed = std::map<ValueId, Tensor>;

/// Holds what was inferred for every computed value against the tensor it turned out to be. Inputs
/// are left out: some tests feed other extents than their model declares.
std::string check_inference(const Graph& graph, const Computed& computed) {
  for (const auto& [id, tensor] : computed) {
    if (!graph.value(id).producer) continue;
    const std::string wrong = contradiction(graph.value(id), tensor);
    if (!wrong.empty()) return wrong;
  }
  return {};
}

/// The graph with every input but the first replaced by the constant it is fed.
Graph with_known_operands(const Graph& graph, const std::vector<Tensor>& inputs) {
  Graph known = graph;
  for (size_t i = 1; i < inputs.size(); ++i) {
    const ValueId input = graph.inputs()[i];
    if (graph.is_output(input)) continue;
    known.replace_uses(input, known.add_constant("known", inputs[i]));
  }
  known.infer_types();
  return known;
}

/// Says which output is not what is expected; empty when all are.
std::string check_outputs(const Graph& graph, const std::vector<Tensor>& outputs,
                          const std::vector<Tensor>& expected, Tolerance tolerance) {
  for (size_t i = 0; i < outputs.size(); ++i) {
    const Tensor want = as_declared(expected[i], outputs[i].type());
    const std::string wrong = difference(want, outputs[i], tolerance);
    if (!wrong.empty()) return "output '" + graph.value(graph.outputs()[i]).name + "' " + wrong;
  }
  return {};
}

/// The compiled plan must give the same.
std::string check_plan(const Graph& graph, const std::vector<Tensor>& inputs,
                       const std::vector<Tensor>& expected, Tolerance tolerance) {
  std::vector<Shape> shapes;
  for (const Tensor& input : inputs) shapes.push_back(input.shape());
  const Plan plan(graph, {.input_shapes = shapes});
  const std::string wrong = check_outputs(graph, plan.run(inputs), expected, tolerance);
  return wrong.empty() ? "" : "as a plan: " + wrong;
}

Outcome run_data_set(const Graph& graph, const fs::path& folder, Tolerance tolerance) {
  std::vector<Tensor> inputs = read_tensors(folder, "input");
  const std::vector<Tensor> expected = read_tensors(folder, "output");
  if (inputs.size() != graph.inputs().size())
    return fail("the model has " + std::to_string(graph.inputs().size()) + " inputs, the data " +
                std::to_string(inputs.size()));
  for (size_t i = 0; i < inputs.size(); ++i)
    inputs[i] = as_declared(inputs[i], graph.type(graph.inputs()[i]));
  Computed computed;
  const std::vector<Tensor> outputs = execute(
      graph, inputs, [&](ValueId id, const Tensor& tensor) { computed.emplace(id, tensor); });
  if (outputs.size() != expected.size())
    return fail("the model has " + std::to_string(outputs.size()) + " outputs, the data " +
                std::to_string(expected.size()));
  std::string wrong = check_outputs(graph, outputs, expected, tolerance);
  if (wrong.empty()) wrong = check_inference(graph, computed);
  if (wrong.empty()) wrong = check_plan(graph, inputs, expected, tolerance);
  if (!wrong.empty()) return fail(wrong);
  wrong = with_context([] { return "with constant operands"; },
                       [&] {
                         const Graph known = with_known_operands(graph, inputs);
                         const std::string inferred = check_inference(known, computed);
                         return inferred.empty() ? check_plan(known, inputs, expected, tolerance)
                                                 : inferred;
                       });
  if (!wrong.empty()) return fail("with constant operands: " + wrong);
  return {};
}

}  // namespace

Outcome run_case(const fs::path& folder, const std::string& op, Tolerance tolerance) {
  try {
    const Graph graph = import_onnx((folder / "model.onnx").string(), onnx_ops());
    if (!op.empty() && !uses_op(graph, op)) return skip("filtered");
    const std::string reason = obstacle(graph);
    if (!reason.empty()) return skip(reason);
    for (int i = 0;; ++i) {
      const fs::path data = folder / ("test_data_set_" + std::to_string(i));
      if (!fs::exists(data)) return i > 0 ? Outcome{} : fail("no test_data_set_0");
      const Outcome outcome = run_data_set(graph, data, tolerance);
      if (outcome.status != Status::kPass) return outcome;
    }
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::kUnsupported) return skip(error.what());
    return fail(error.what());
  } catch (const std::exception& error) {
    return fail(std::string("exception: ") + error.what());
  }
}

}  // namespace pare::conformance
