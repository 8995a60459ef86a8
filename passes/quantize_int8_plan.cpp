#include "passes/quantize_int8_plan.h"

#include <algorithm>
#include <array>
#include <numeric>

#include "exec/activation_pattern.h"
#include "passes/power_of_two.h"
#include "support/disjoint_sets.h"

namespace pare {
namespace {

/// Float operators that map a well-behaved range to a well-behaved one, so that their result may be
/// stored in INT8 when their operand is.
constexpr std::array<std::string_view, 14> kTame = {
    "Celu",     "Elu",      "Gelu",  "HardSigmoid", "HardSwish",       "Mish",   "PRelu", "Selu",
    "Softplus", "Softsign", "Swish", "Tanh",        "ThresholdedRelu", "Softmax"};

bool is(const Node& node, Quant quant) { return node.def && node.def->quant == quant; }

class Planner {
 public:
  Planner(const Graph& graph, const GraphSection& section,
          const std::function<bool(const Node&)>& wanted,
          const std::map<NodeId, std::string>& blocked, bool power_of_two)
      : graph_(graph),
        section_(section),
        wanted_(wanted),
        blocked_(blocked),
        power_of_two_(power_of_two),
        candidate_(graph.node_count(), false),
        tame_(graph.value_count(), false),
        useful_(graph.node_count(), false) {
    plan_.quantized.assign(graph.node_count(), false);
    plan_.fused.assign(graph.node_count(), false);
    for (const NodeId id : graph.order()) {
      const std::optional<ActivationPattern> pattern = activation_pattern(graph, id);
      if (!pattern) continue;
      for (const NodeId member : pattern->nodes) curve_of_[member] = pattern->x;
    }
  }

  QuantPlan plan() {
    for (const NodeId id : graph_.order()) consider(id);
    for (auto id = graph_.order().rbegin(); id != graph_.order().rend(); ++id) decide(*id);
    for (const NodeId id : graph_.order()) {
      if (plan_.quantized[index(id)]) {
        plan_.nodes.push_back(id);
      } else if (candidate_[index(id)] && is(graph_.node(id), Quant::kRescale)) {
        plan_.left.emplace(id, "result is used in float");
      }
    }
    collect_values();
    share_codes();
    return std::move(plan_);
  }

 private:
  bool is_activation(ValueId id) const {
    return id != kNoValue && !graph_.constant(id) && graph_.type(id).dtype == DType::kF32;
  }

  /// Why `node` cannot be INT8; empty when it can.
  std::string obstacle(NodeId id) const {
    const Node& node = graph_.node(id);
    if (!section_.holds(id)) return "not between from and to";
    if (const auto it = blocked_.find(id); it != blocked_.end()) return it->second;
    if (!wanted_(node)) return "excluded";
    for (const size_t slot : quantized_slots(graph_, node)) {
      const Value& operand = graph_.value(node.inputs[slot]);
      if (operand.type.dtype != DType::kF32)
        return std::string(to_string(operand.type.dtype)) + " operand";
      if (operand.producer && graph_.node(*operand.producer).op == "DequantizeLinear")
        return "already quantized";
    }
    const Value& result = graph_.value(node.outputs[0]);
    for (const Use& use : result.uses) {
      if (graph_.node(use.node).op == "QuantizeLinear") return "already quantized";
    }
    const bool convolution = node.op == "Conv" || node.op == "ConvTranspose";
    if (convolution && !graph_.constant(node.inputs[1])) return "weights are computed";
    if (node.op == "MaxPool" && node.has_output(1)) return "indices are wanted";
    const bool averages = node.op == "AveragePool" || node.op == "GlobalAveragePool";
    if (power_of_two_ && averages && !pool_factor(graph_, node))
      return "windows differ in size or are not known";
    return {};
  }

  /// Forward: which nodes could be INT8, and which values may be stored so.
  void consider(NodeId id) {
    const Node& node = graph_.node(id);
    if (!node.def || node.outputs.empty() || !node.has_input(0) || !node.has_output(0)) return;
    if (node.def->quant == Quant::kFloat) {
      const bool known = std::ranges::find(kTame, node.op) != kTame.end();
      tame_[index(node.outputs[0])] = known && is_tame(node.inputs[0]);
      if (node.def->macs) plan_.left.emplace(id, "no INT8 form");
      return;
    }
    if (const auto curve = curve_of_.find(id); curve != curve_of_.end()) {
      // In float from the stored operand to the result: rounding in between only costs accuracy.
      tame_[index(node.outputs[0])] = is_tame(curve->second);
      return;
    }
    if (is_matmul_bias(node)) {
      tame_[index(node.outputs[0])] = true;
      fuse_activation(node);
      return;
    }
    // Shape arithmetic is made of the same operators.
    if (graph_.type(node.outputs[0]).dtype != DType::kF32 && !is(node, Quant::kWeighted)) return;
    if (!is(node, Quant::kWeighted) && section_.holds(id) && !has_tame_operands(node)) {
      if (is(node, Quant::kRescale)) plan_.left.emplace(id, "operand is float");
      return;
    }
    if (const std::string reason = obstacle(id); !reason.empty()) {
      plan_.left.emplace(id, reason);
      return;
    }
    candidate_[index(id)] = true;
    for (const ValueId output : node.outputs) {
      if (output != kNoValue) tame_[index(output)] = true;
    }
    const bool computes = is(node, Quant::kWeighted) || is(node, Quant::kRescale);
    if (computes) fuse_activation(node);
  }

  bool is_tame(ValueId id) const { return tame_[index(id)]; }

  /// Every operand may be stored in INT8, and one comes from an INT8 node.
  bool has_tame_operands(const Node& node) const {
    bool any = false;
    for (const size_t slot : quantized_slots(graph_, node)) {
      const ValueId operand = node.inputs[slot];
      if (graph_.constant(operand)) continue;
      const bool input = !graph_.value(operand).producer || section_.begins_at(operand);
      if (!is_tame(operand) && !input) return false;
      any = any || is_tame(operand);
    }
    return any;
  }

  /// The Add of a constant that alone uses an INT8 MatMul. It stays in float between the MatMul's
  /// 32-bit sums and the next QuantizeLinear: eight bits on either side of it only cost accuracy.
  bool is_matmul_bias(const Node& node) const {
    if (node.op != "Add" || node.inputs.size() != 2) return false;
    for (const size_t slot : {size_t{0}, size_t{1}}) {
      const ValueId operand = node.inputs[slot];
      if (!graph_.constant(node.inputs[1 - slot]) || !graph_.sole_user(operand)) continue;
      const std::optional<NodeId> producer = graph_.value(operand).producer;
      if (producer && candidate_[index(*producer)] && graph_.node(*producer).op == "MatMul")
        return true;
    }
    return false;
  }

  void fuse_activation(const Node& node) {
    const std::optional<NodeId> user = graph_.sole_user(node.outputs[0]);
    if (!user) return;
    const Node& activation = graph_.node(*user);
    if (power_of_two_ && is_pool_factor(graph_, activation)) plan_.fused[index(*user)] = true;
    const bool clips =
        is(activation, Quant::kActivation) && (activation.op == "Relu" || activation.op == "Clip");
    if (clips && activation.inputs[0] == node.outputs[0] && obstacle(*user).empty())
      plan_.fused[index(*user)] = true;
  }

  /// Backward: INT8 is worth it where somebody uses the result in INT8.
  void decide(NodeId id) {
    const Node& node = graph_.node(id);
    const bool wanted = std::ranges::any_of(node.outputs, [&](ValueId output) {
      return output != kNoValue && is_read_quantized(output);
    });
    if (plan_.fused[index(id)]) {
      useful_[index(id)] = wanted;
      return;
    }
    plan_.quantized[index(id)] = candidate_[index(id)] && (wanted || is(node, Quant::kWeighted));
  }

  bool is_read_quantized(ValueId id) const {
    return std::ranges::any_of(graph_.value(id).uses, [&](const Use& use) {
      if (plan_.fused[index(use.node)]) return useful_[index(use.node)];
      if (!plan_.quantized[index(use.node)]) return false;
      const std::vector<size_t> slots = quantized_slots(graph_, graph_.node(use.node));
      return std::ranges::find(slots, use.slot) != slots.end();
    });
  }

  /// The result of a node behind the activation fused into it.
  ValueId tail(const Node& node) const {
    const std::optional<NodeId> user = graph_.sole_user(node.outputs[0]);
    return user && plan_.fused[index(*user)] ? graph_.node(*user).outputs[0] : node.outputs[0];
  }

  void collect_values() {
    std::vector<bool> stored(graph_.value_count(), false);
    for (const NodeId id : plan_.nodes) {
      const Node& node = graph_.node(id);
      for (const size_t slot : quantized_slots(graph_, node)) {
        if (is_activation(node.inputs[slot])) stored[index(node.inputs[slot])] = true;
      }
      if (node.op == "Conv" || node.op == "ConvTranspose") stored[index(tail(node))] = true;
      if (!is(node, Quant::kPassThrough)) continue;
      for (const ValueId output : node.outputs) {
        if (is_activation(output)) stored[index(output)] = true;
      }
    }
    for (uint32_t i = 0; i < stored.size(); ++i) {
      if (stored[i]) plan_.values.push_back(ValueId{i});
    }
  }

  void share_codes() {
    DisjointSets sets(graph_.value_count());
    for (const NodeId id : plan_.nodes) {
      const Node& node = graph_.node(id);
      if (power_of_two_ && shares_one_code(node)) {
        ValueId shared = node.op == "Concat" ? tail(node) : kNoValue;
        for (const ValueId operand : node.inputs) {
          if (!is_activation(operand)) continue;
          if (shared != kNoValue) sets.unite(index(operand), index(shared));
          shared = operand;
        }
      } else if (node.op == "Concat") {
        // What nothing else reads is stored as the whole is, instead of being rounded twice.
        for (const ValueId operand : node.inputs) {
          if (is_activation(operand) && graph_.sole_user(operand))
            sets.unite(index(operand), index(tail(node)));
        }
      }
      if (!is(node, Quant::kPassThrough)) continue;
      for (const ValueId output : node.outputs) {
        if (is_activation(output)) sets.unite(index(node.inputs[0]), index(output));
      }
    }
    for (uint32_t i = 0; i < graph_.value_count(); ++i)
      plan_.code_of.push_back(ValueId{sets.find(i)});
  }

  const Graph& graph_;
  const GraphSection& section_;
  const std::function<bool(const Node&)>& wanted_;
  const std::map<NodeId, std::string>& blocked_;
  const bool power_of_two_;
  std::vector<bool> candidate_;         ///< By node.
  std::vector<bool> tame_;              ///< By value: may be stored in INT8.
  std::vector<bool> useful_;            ///< By fused node: its result is read in INT8.
  std::map<NodeId, ValueId> curve_of_;  ///< Nodes that spell an activation, by its operand.
  QuantPlan plan_;
};

}  // namespace

bool QuantPlan::made_quantized(const Graph& graph, ValueId id) const {
  const std::optional<NodeId> producer = graph.value(id).producer;
  return producer && (quantized[index(*producer)] || fused[index(*producer)]);
}

int QuantPlan::bits(NodeId id) const {
  const auto it = weight_bits.find(id);
  return it == weight_bits.end() ? 8 : it->second;
}

bool shares_one_code(const Node& node) {
  static constexpr std::array<std::string_view, 6> kShare = {"Add", "Sub", "Sum",
                                                             "Max", "Min", "Concat"};
  return std::ranges::find(kShare, node.op) != kShare.end();
}

std::vector<size_t> quantized_slots(const Graph& graph, const Node& node) {
  if (is(node, Quant::kWeighted)) return {0, 1};
  if (!is(node, Quant::kRescale)) return {0};
  std::vector<size_t> slots;
  for (size_t i = 0; i < node.inputs.size() - node.captures; ++i) {
    if (node.has_input(i) && is_float(graph.type(node.inputs[i]).dtype)) slots.push_back(i);
  }
  return slots;
}

std::vector<bool> edge_nodes(const Graph& graph, const GraphSection& section) {
  const std::vector<NodeId>& order = graph.order();
  std::vector<bool> before(graph.value_count(), false), behind(graph.value_count(), false);
  std::vector<bool> edges(graph.node_count(), false);
  const auto any = [](const std::vector<ValueId>& values, const std::vector<bool>& flags) {
    return std::ranges::any_of(values,
                               [&](ValueId id) { return id != kNoValue && flags[index(id)]; });
  };
  const auto mark = [](const std::vector<ValueId>& values, std::vector<bool>& flags) {
    for (const ValueId id : values) {
      if (id != kNoValue) flags[index(id)] = true;
    }
  };
  for (const NodeId id : order) {
    const Node& node = graph.node(id);
    const bool weighted = is(node, Quant::kWeighted) && section.holds(id);
    const bool later = any(node.inputs, before);
    if (weighted && !later) edges[index(id)] = true;
    if (weighted || later) mark(node.outputs, before);
  }
  for (auto it = order.rbegin(); it != order.rend(); ++it) {
    const Node& node = graph.node(*it);
    const bool weighted = is(node, Quant::kWeighted) && section.holds(*it);
    const bool earlier = any(node.outputs, behind);
    if (weighted && !earlier) edges[index(*it)] = true;
    if (weighted || earlier) mark(node.inputs, behind);
  }
  return edges;
}

QuantPlan plan_quantization(const Graph& graph, const GraphSection& section,
                            const std::function<bool(const Node&)>& wanted,
                            const std::map<NodeId, std::string>& blocked, bool power_of_two) {
  return Planner(graph, section, wanted, blocked, power_of_two).plan();
}

}  // namespace pare
