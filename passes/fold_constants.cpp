#include "passes/fold_constants.h"

#include <algorithm>
#include <array>

#include "exec/interpreter.h"
#include "passes/graph_edit.h"

namespace pare {
namespace {

constexpr int64_t kAllowedGrowth = int64_t{1} << 20;  // Bytes.
constexpr int64_t kHuge = int64_t{1} << 48;           // Elements; more fits no memory.

/// Not to be evaluated though an evaluation may exist.
constexpr std::array<std::string_view, 7> kNeverFolded = {
    "Bernoulli",        "DequantizeLinear", "Multinomial",      "RandomNormal",
    "RandomNormalLike", "RandomUniform",    "RandomUniformLike"};

int64_t bytes_of(const Tensor& tensor) { return static_cast<int64_t>(tensor.bytes().size()); }

/// Bytes of the constants that something uses.
int64_t constant_bytes(const Graph& graph) {
  int64_t bytes = 0;
  for (uint32_t i = 0; i < graph.value_count(); ++i) {
    const Value& value = graph.value(ValueId{i});
    if (value.constant && !value.uses.empty()) bytes += bytes_of(*value.constant);
  }
  return bytes;
}

bool may_fold(const Graph& graph, const Node& node) {
  if (!node.def || !node.def->eval || node.captures > 0) return false;
  if (std::ranges::find(kNeverFolded, node.op) != kNeverFolded.end()) return false;
  return std::ranges::all_of(
      node.outputs, [&](ValueId output) { return output == kNoValue || !graph.is_output(output); });
}

class FoldConstants final : public Pass {
 public:
  std::string_view name() const override { return "fold-constants"; }
  Effect effect() const override { return Effect::kExact; }

  PassStats run(Graph& graph, PassContext&) override {
    room_ = std::max(kAllowedGrowth, constant_bytes(graph));
    int64_t folded = 0, too_large = 0;
    for (const NodeId id : std::vector(graph.order())) {  // A copy: nodes are removed.
      if (!may_fold(graph, graph.node(id))) continue;
      const Outcome outcome = try_fold(graph, id);
      folded += outcome == Outcome::kFolded;
      too_large += outcome == Outcome::kTooLarge;
    }
    const int64_t unused = remove_unused_nodes(graph);
    graph.infer_types();
    PassStats stats = {{"nodes folded", folded}, {"nodes left unused", unused}};
    if (too_large > 0) stats["nodes too large to fold"] = too_large;
    return stats;
  }

 private:
  enum class Outcome : uint8_t { kFolded, kTooLarge, kNotConstant };

  Outcome try_fold(Graph& graph, NodeId id) {
    const Node& node = graph.node(id);
    std::vector<TensorRef> results;
    if (is_known(graph, node)) {
      for (const ValueId output : node.outputs)
        results.push_back(output == kNoValue ? nullptr : graph.value(output).known);
    } else if (!has_constant_operands(graph, node)) {
      return Outcome::kNotConstant;
    } else if (growth(graph, node, inferred_bytes(graph, node)) > room_) {
      return Outcome::kTooLarge;  // Before it is computed: a small file can ask for a lot.
    } else {
      results = evaluated(graph, node);
    }
    if (results.empty()) return Outcome::kNotConstant;
    int64_t bytes = 0;
    for (const TensorRef& result : results) bytes += result ? bytes_of(*result) : 0;
    const int64_t grown = growth(graph, node, bytes);
    if (grown > room_) return Outcome::kTooLarge;
    room_ -= std::max<int64_t>(grown, 0);
    fold(graph, id, results);
    return Outcome::kFolded;
  }

  static bool is_known(const Graph& graph, const Node& node) {
    return std::ranges::all_of(node.outputs, [&](ValueId output) {
      if (output == kNoValue) return true;
      const Value& value = graph.value(output);
      return value.known && !value.dynamic;
    });
  }

  static bool has_constant_operands(const Graph& graph, const Node& node) {
    return std::ranges::all_of(
        node.inputs, [&](ValueId input) { return input == kNoValue || graph.constant(input); });
  }

  /// One tensor for each output; empty for a form that cannot be evaluated.
  static std::vector<TensorRef> evaluated(const Graph& graph, const Node& node) {
    std::vector<const Tensor*> operands;
    for (const ValueId input : node.inputs) operands.push_back(graph.constant(input));
    try {
      std::vector<Tensor> tensors =
          with_context([&] { return describe(node); }, [&] { return evaluate(node, operands); });
      if (tensors.size() < node.outputs.size()) return {};
      std::vector<TensorRef> results;
      for (size_t i = 0; i < node.outputs.size(); ++i)
        results.push_back(std::make_shared<Tensor>(std::move(tensors[i])));
      return results;
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::kUnsupported) return {};
      throw;
    }
  }

  static int64_t inferred_bytes(const Graph& graph, const Node& node) {
    int64_t bytes = 0;
    for (const TensorType& type : graph.output_types(node)) {
      if (type.known())
        bytes += std::min(element_count(type.shape), kHuge) *
                 static_cast<int64_t>(element_size(type.dtype));
    }
    return bytes;
  }

  /// Bytes the model gains when `results` bytes replace the node; an operand used by nothing else
  /// goes with it.
  static int64_t growth(const Graph& graph, const Node& node, int64_t results) {
    for (const ValueId input : node.inputs) {
      const Tensor* constant = graph.constant(input);
      if (constant && graph.value(input).uses.size() == 1) results -= bytes_of(*constant);
    }
    return results;
  }

  static void fold(Graph& graph, NodeId id, const std::vector<TensorRef>& results) {
    const std::vector<ValueId> outputs = graph.node(id).outputs;
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (outputs[i] != kNoValue) graph.make_constant(outputs[i], *results[i]);
    }
    graph.remove_node(id);
  }

  int64_t room_ = 0;
};

}  // namespace

std::unique_ptr<Pass> make_fold_constants() { return std::make_unique<FoldConstants>(); }

}  // namespace pare
