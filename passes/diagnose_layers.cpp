#include "passes/diagnose_layers.h"

#include <algorithm>
#include <map>

#include "calib/runner.h"
#include "cost/storage.h"
#include "passes/dequantized.h"
#include "passes/fold_batch_norm.h"
#include "passes/fold_constants.h"
#include "passes/graph_edit.h"
#include "passes/upgrade_opset.h"

namespace pare {
namespace {

constexpr int64_t kOpset = 13;

/// A weighted node of the quantized network and its partner in the original.
struct Pair {
  NodeId original, quantized;
};

/// The original as quantize-int8 sees it.
Graph prepared(const Graph& original, int64_t opset) {
  Graph graph = original;
  PassContext context;
  make_fold_constants()->run(graph, context);
  make_fold_batch_norm()->run(graph, context);
  if (graph.opset() < opset) upgrade_opset(graph, opset);
  return graph;
}

/// The DequantizeLinear that makes operand `slot` of a node; null where none does.
const Node* decoder(const Graph& graph, const Node& node, size_t slot) {
  if (!node.has_input(slot) || !graph.value(node.inputs[slot]).producer) return nullptr;
  const Node& producer = graph.node(*graph.value(node.inputs[slot]).producer);
  return producer.op == "DequantizeLinear" ? &producer : nullptr;
}

class Diagnoser {
 public:
  Diagnoser(const Graph& original, const Graph& quantized, const Dataset& data,
            const DiagnoseOptions& options)
      : original_(prepared(original, std::max(kOpset, quantized.opset()))),
        quantized_(quantized),
        data_(data),
        options_(options),
        samples_(data.spread(options.samples)) {}

  Diagnosis run() {
    match();
    const std::vector<Tensor> reference = outputs(original_);
    result_.outputs = compare_outputs(reference, outputs(quantized_));
    compare_results();
    for (size_t i = 0; i < pairs_.size(); ++i) {
      options_.progress.step("quantizing layers alone", static_cast<int64_t>(i),
                             static_cast<int64_t>(pairs_.size()));
      result_.layers[i].alone = compare_outputs(reference, outputs(alone(pairs_[i])));
    }
    std::ranges::stable_sort(result_.layers, [](const auto& a, const auto& b) {
      return a.alone.kl != b.alone.kl ? a.alone.kl > b.alone.kl : a.alone.sqnr_db < b.alone.sqnr_db;
    });
    return std::move(result_);
  }

 private:
  std::vector<Tensor> outputs(const Graph& graph) const {
    return run_outputs(graph, data_, samples_, {.threads = options_.threads});
  }

  void match() {
    std::map<std::string, NodeId> by_name, by_result;
    for (const NodeId id : original_.order()) {
      const Node& node = original_.node(id);
      if (!is_weighted(node) || !original_.constant(node.inputs[1])) continue;
      by_name.emplace(node.name, id);
      by_result.emplace(original_.value(node.outputs[0]).name, id);
    }
    for (const NodeId id : quantized_.order()) {
      const Node& node = quantized_.node(id);
      if (!is_weighted(node) || !decoder(quantized_, node, 0)) continue;
      const std::optional<Tensor> weights = dequantized_constant(quantized_, node.inputs[1]);
      if (!weights) continue;
      const std::optional<NodeId> partner = partner_of(node, weights->shape(), by_name, by_result);
      if (!partner) {
        result_.unmatched.push_back(node.name);
        continue;
      }
      pairs_.push_back({*partner, id});
      result_.layers.push_back(describe_weights(pairs_.back(), *weights));
    }
    if (pairs_.empty())
      throw Error(ErrorKind::kInput,
                  "no quantized layer has a partner of the same name and weights in the original");
  }

  std::optional<NodeId> partner_of(const Node& node, const Shape& weights,
                                   const std::map<std::string, NodeId>& by_name,
                                   const std::map<std::string, NodeId>& by_result) const {
    const auto fits = [&](NodeId id) {
      return original_.constant(original_.node(id).inputs[1])->shape() == weights;
    };
    const auto named = by_name.find(node.name);
    if (!node.name.empty() && named != by_name.end() && fits(named->second)) return named->second;
    const auto making = by_result.find(quantized_.value(node.outputs[0]).name);
    if (making != by_result.end() && fits(making->second)) return making->second;
    return {};
  }

  LayerDiagnosis describe_weights(const Pair& pair, const Tensor& weights) const {
    const Node& node = original_.node(pair.original);
    const Tensor before = cast(*original_.constant(node.inputs[1]), DType::kF32);
    LayerDiagnosis layer{.name = node.name, .op = node.op};
    layer.weight_bits = needed_bits(
        *quantized_.constant(decoder(quantized_, quantized_.node(pair.quantized), 1)->inputs[0]));
    layer.weights = compare_numbers(before.data<float>(), weights.data<float>());
    if (node.def->macs)
      layer.macs = node.def->macs(node, original_.operands(node), original_.output_types(node));
    return layer;
  }

  void compare_results() {
    std::vector<ValuePair> results;
    for (const Pair& pair : pairs_)
      results.push_back(
          {original_.node(pair.original).outputs[0], quantized_.node(pair.quantized).outputs[0]});
    const std::vector<ValueComparison> compared = compare_values(
        original_, quantized_, results, data_, samples_, {.threads = options_.threads});
    for (size_t i = 0; i < compared.size(); ++i) {
      if (compared[i].elements == 0)
        throw Error(ErrorKind::kInput, "the result of layer '" + result_.layers[i].name +
                                           "' has another shape in the quantized network, "
                                           "expected the same");
      result_.layers[i].result = compared[i];
    }
  }

  /// The original with only one node quantized.
  Graph alone(const Pair& pair) const {
    Graph graph = original_;
    const Node& from = quantized_.node(pair.quantized);
    for (const size_t slot : {size_t{1}, size_t{2}}) {
      if (!from.has_input(slot)) continue;
      if (std::optional<Tensor> tensor = dequantized_constant(quantized_, from.inputs[slot]))
        set_constant_operand(graph, pair.original, slot, std::move(*tensor));
    }
    const Node& decode = *decoder(quantized_, from, 0);
    std::vector<ValueId> code{kNoValue};
    for (size_t slot = 1; slot < decode.inputs.size(); ++slot) {
      const Tensor* constant = quantized_.constant(decode.inputs[slot]);
      if (!constant) return graph;  // A scale that is computed.
      code.push_back(graph.add_constant("code", *constant));
    }
    code[0] = graph.node(pair.original).inputs[0];
    code[0] = graph.insert_node(pair.original, "QuantizeLinear", code);
    graph.set_input(pair.original, 0, graph.insert_node(pair.original, "DequantizeLinear", code));
    graph.infer_types();
    return graph;
  }

  const Graph original_;
  const Graph& quantized_;
  const Dataset& data_;
  const DiagnoseOptions& options_;
  std::vector<int64_t> samples_;
  std::vector<Pair> pairs_;  ///< As Diagnosis::layers before they are sorted.
  Diagnosis result_;
};

}  // namespace

Diagnosis diagnose_layers(const Graph& original, const Graph& quantized, const Dataset& data,
                          const DiagnoseOptions& options) {
  return Diagnoser(original, quantized, data, options).run();
}

}  // namespace pare
