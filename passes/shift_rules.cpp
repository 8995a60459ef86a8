#include "passes/shift_rules.h"

#include <algorithm>
#include <cmath>

#include "cost/storage.h"
#include "passes/power_of_two.h"
#include "passes/quantize_int8_plan.h"

namespace pare {
namespace {

bool is_quantizer(const Node& node) {
  return node.op == "QuantizeLinear" || node.op == "DequantizeLinear";
}

bool is_dequantized(const Graph& graph, const Node& node, size_t slot) {
  const Node* maker = node.has_input(slot) ? quantizer_of(graph, node.inputs[slot]) : nullptr;
  return maker && maker->op == "DequantizeLinear";
}

/// Operands are integers: dequantized, or the result of a node of `integer`. Constants beside them
/// may be float.
bool reads_integers(const Graph& graph, const Node& node, const std::vector<bool>& integer) {
  if (!node.def || node.def->quant == Quant::kFloat || is_quantizer(node)) return false;
  if (is_weighted(node)) return is_dequantized(graph, node, 0) && is_dequantized(graph, node, 1);
  bool any = false;
  for (const size_t slot : quantized_slots(graph, node)) {
    const ValueId operand = node.inputs[slot];
    if (graph.constant(operand)) continue;
    const std::optional<NodeId> producer = graph.value(operand).producer;
    any = producer && (is_dequantized(graph, node, slot) || integer[index(*producer)]);
    if (!any) return false;
  }
  return any;
}

/// All users are QuantizeLinear or nodes of `integer` that are no weighted ones.
bool writes_integers(const Graph& graph, const Node& node, const std::vector<bool>& integer) {
  return std::ranges::all_of(node.outputs, [&](ValueId output) {
    if (output == kNoValue) return true;
    const std::vector<Use>& uses = graph.value(output).uses;
    return !uses.empty() && !graph.is_output(output) &&
           std::ranges::all_of(uses, [&](const Use& use) {
             const Node& user = graph.node(use.node);
             return user.op == "QuantizeLinear" || (integer[index(use.node)] && !is_weighted(user));
           });
  });
}

class Checker {
 public:
  explicit Checker(const Graph& graph) : graph_(graph), integer_(integer_nodes(graph)) {}

  RuleCheck run() {
    for (const NodeId id : graph_.order()) {
      const Node& node = graph_.node(id);
      if (is_quantizer(node)) {
        check_scale(id);
      } else if (integer_[index(id)]) {
        check_integer_node(id);
      } else if (is_weighted(node)) {
        complain(id, "multiplies in float, expected both operands behind DequantizeLinear");
      } else if (computes(node)) {
        check_.in_float.push_back(id);
      }
    }
    return std::move(check_);
  }

 private:
  void complain(NodeId id, const std::string& fact) {
    check_.breaks.push_back({id, describe(graph_.node(id)) + ": " + fact});
  }

  /// Works on floats, and is no shape arithmetic.
  bool computes(const Node& node) const {
    return !node.outputs.empty() && node.has_output(0) &&
           is_float(graph_.type(node.outputs[0]).dtype) && !graph_.value(node.outputs[0]).known &&
           node.def && node.def->quant != Quant::kPassThrough;
  }

  void check_scale(NodeId id) {
    const Node& node = graph_.node(id);
    if (!exponent_of_scale(graph_, node.inputs[1]))
      return complain(id, "the scale of " + named(node) + " is no power of two for all of it");
    if (node.has_input(2)) {
      const Tensor* zero = graph_.constant(node.inputs[2]);
      if (!zero || !is_zero(*zero))
        return complain(id, "the zero point of " + named(node) + " is not 0");
    }
    const ValueId stored = node.op == "QuantizeLinear" ? node.outputs[0] : node.inputs[0];
    const DType dtype = graph_.type(stored).dtype;
    const bool bias = graph_.constant(stored) && dtype == DType::kI32;
    if (dtype != DType::kI8 && !bias)
      complain(id, named(node) + " is " + std::string(to_string(dtype)) + ", expected i8");
  }

  /// The tensor that is quantized, as people know it.
  std::string named(const Node& node) const {
    const bool stored = node.op == "QuantizeLinear" || graph_.constant(node.inputs[0]);
    const ValueId id = stored ? node.inputs[0] : node.outputs[0];
    return "'" + graph_.value(id).name + "'";
  }

  static bool is_zero(const Tensor& zero) {
    return std::ranges::all_of(zero.bytes(), [](std::byte b) { return b == std::byte{0}; });
  }

  void check_integer_node(NodeId id) {
    const Node& node = graph_.node(id);
    if (shares_one_code(node)) check_shared(id);
    if (is_weighted(node)) check_bias(id);
    const bool averages = node.op == "AveragePool" || node.op == "GlobalAveragePool";
    if (averages) check_pool(id);
  }

  /// Exponent of a value behind DequantizeLinear, or of what a QuantizeLinear behind it makes.
  std::optional<int> exponent(ValueId id) const {
    const Node* quantizer = quantizer_of(graph_, id);
    return quantizer ? exponent_of_scale(graph_, quantizer->inputs[1]) : std::nullopt;
  }

  void check_shared(NodeId id) {
    const Node& node = graph_.node(id);
    std::optional<int> first = node.op == "Concat" ? result_exponent(node) : std::nullopt;
    for (const ValueId operand : node.inputs) {
      const std::optional<int> own = exponent(operand);
      if (!own) continue;  // Said of its DequantizeLinear.
      if (first && *first != *own)
        return complain(id, "operand '" + graph_.value(operand).name + "' has scale 2^" +
                                std::to_string(*own) + ", expected 2^" + std::to_string(*first) +
                                " as the others have");
      first = own;
    }
  }

  std::optional<int> result_exponent(const Node& node) const {
    ValueId result = node.outputs[0];
    while (const std::optional<NodeId> user = graph_.sole_user(result)) {
      const Node& next = graph_.node(*user);
      if (next.op == "QuantizeLinear") return exponent_of_scale(graph_, next.inputs[1]);
      if (!next.has_output(0)) break;
      result = next.outputs[0];
    }
    return {};
  }

  void check_bias(NodeId id) {
    const Node& node = graph_.node(id);
    if (node.op == "MatMul" || !node.has_input(2)) return;
    const std::optional<int> x = exponent(node.inputs[0]), w = exponent(node.inputs[1]);
    const std::optional<int> bias = exponent(node.inputs[2]);
    if (!bias) return complain(id, "the bias is float, expected int32 behind DequantizeLinear");
    if (x && w && *bias != *x + *w)
      complain(id, "the bias has scale 2^" + std::to_string(*bias) + ", expected 2^" +
                       std::to_string(*x + *w) + " as the sums have");
  }

  void check_pool(NodeId id) {
    const Node& node = graph_.node(id);
    const std::optional<PoolFactor> factor = pool_factor(graph_, node);
    if (!factor) return complain(id, "its windows differ in size or are not known");
    const double wanted = pool_ratio(graph_, node, *factor);
    const std::optional<NodeId> user = graph_.sole_user(node.outputs[0]);
    const bool has = user && is_pool_factor(graph_, graph_.node(*user));
    const double found =
        has ? static_cast<double>(graph_.constant(graph_.node(*user).inputs[1])->data<float>()[0])
            : 1.0;
    if (static_cast<float>(wanted) != static_cast<float>(found))
      complain(id, "the sum of a window is divided exactly, but the hardware multiplies it by " +
                       std::to_string(factor->multiplier) + " / 2^" +
                       std::to_string(factor->shift) + ", expected a Mul by " +
                       std::to_string(wanted) + " behind it");
  }

  const Graph& graph_;
  const std::vector<bool> integer_;
  RuleCheck check_;
};

}  // namespace

std::optional<int> exponent_of_scale(const Graph& graph, ValueId scale) {
  const Tensor* tensor = graph.constant(scale);
  if (!tensor || tensor->dtype() != DType::kF32 || tensor->size() != 1) return {};
  int exponent = 0;
  const float number = tensor->data<float>()[0];
  if (!(number > 0) || std::isinf(number) || std::frexp(number, &exponent) != 0.5f) return {};
  return exponent - 1;
}

std::vector<bool> integer_nodes(const Graph& graph) {
  std::vector<bool> integer(graph.node_count(), true), refused(graph.node_count(), false);
  for (bool changed = true; changed;) {  // What is refused takes others along.
    changed = false;
    for (const NodeId id : graph.order())
      integer[index(id)] = !refused[index(id)] && reads_integers(graph, graph.node(id), integer);
    for (auto it = graph.order().rbegin(); it != graph.order().rend(); ++it) {
      const Node& node = graph.node(*it);
      if (!integer[index(*it)] || is_weighted(node) || writes_integers(graph, node, integer))
        continue;
      integer[index(*it)] = false;
      refused[index(*it)] = changed = true;
    }
  }
  return integer;
}

const Node* quantizer_of(const Graph& graph, ValueId id) {
  if (id == kNoValue || !graph.value(id).producer) return nullptr;
  const Node& node = graph.node(*graph.value(id).producer);
  return is_quantizer(node) ? &node : nullptr;
}

RuleCheck check_shift_rules(const Graph& graph) { return Checker(graph).run(); }

}  // namespace pare
