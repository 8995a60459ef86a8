#include "passes/qoperator_form.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <optional>
#include <vector>

#include "passes/graph_edit.h"

namespace pare {
namespace {

/// Integers, and how they are to be read.
struct Coded {
  ValueId code = kNoValue, scale = kNoValue, zero_point = kNoValue;
};

/// An operator and the QuantizeLinear its result goes to, through an activation or not.
struct Chain {
  std::optional<NodeId> activation, quantize;
};

class Rewriter {
 public:
  explicit Rewriter(Graph& graph) : graph_(graph) {}

  int64_t run() {
    for (const NodeId id : std::vector<NodeId>(graph_.order())) {
      if (rewrite(id)) ++rewritten_;
    }
    remove_unused_nodes(graph_);
    graph_.infer_types();
    return rewritten_;
  }

 private:
  std::optional<Coded> coded(ValueId id) const {
    if (id == kNoValue || !graph_.value(id).producer) return {};
    const Node& node = graph_.node(*graph_.value(id).producer);
    if (node.op != "DequantizeLinear" || !node.has_input(2)) return {};
    return Coded{node.inputs[0], node.inputs[1], node.inputs[2]};
  }

  Chain chain_of(const Node& node) const {
    Chain chain;
    std::optional<NodeId> user = graph_.sole_user(node.outputs[0]);
    if (user && (graph_.node(*user).op == "Relu" || graph_.node(*user).op == "Clip")) {
      chain.activation = user;
      user = graph_.sole_user(graph_.node(*user).outputs[0]);
    }
    if (user && graph_.node(*user).op == "QuantizeLinear" && graph_.node(*user).has_input(2))
      chain.quantize = user;
    return chain;
  }

  bool rewrite(NodeId id) {
    const Node& node = graph_.node(id);
    if (!node.def || node.outputs.size() != 1 || node.inputs.empty()) return false;
    const Chain chain = chain_of(node);
    if (node.op == "Gemm") return rewrite_gemm(node, chain);
    if (!chain.quantize || !can_clip(chain)) return false;
    if (node.op == "Conv") return rewrite_conv(node, chain);
    if (node.op == "MatMul") return rewrite_operands(node, chain, "QLinearMatMul");
    if (node.op == "Add") return rewrite_operands(node, chain, "com.microsoft:QLinearAdd");
    if (node.op == "Mul") return rewrite_operands(node, chain, "com.microsoft:QLinearMul");
    if (node.op == "GlobalAveragePool")
      return rewrite_operands(node, chain, "com.microsoft:QLinearGlobalAveragePool");
    if (node.op == "AveragePool")
      return rewrite_operands(node, chain, "com.microsoft:QLinearAveragePool");
    if (node.op == "Concat") return rewrite_concat(node, chain);
    return rewrite_mover(id, chain);
  }

  static void append(std::vector<ValueId>& operands, const Coded& coded) {
    operands.insert(operands.end(), {coded.code, coded.scale, coded.zero_point});
  }

  /// Every operand's integers; empty where one has none.
  std::optional<std::vector<ValueId>> all_coded(const Node& node, size_t count) const {
    std::vector<ValueId> operands;
    for (size_t slot = 0; slot < count; ++slot) {
      const std::optional<Coded> operand = coded(node.inputs[slot]);
      if (!operand) return {};
      append(operands, *operand);
    }
    return operands;
  }

  /// Scale and zero point of the result, as operands.
  void append_result(std::vector<ValueId>& operands, const Chain& chain) const {
    const Node& quantize = graph_.node(*chain.quantize);
    operands.insert(operands.end(), {quantize.inputs[1], quantize.inputs[2]});
  }

  bool rewrite_operands(const Node& node, const Chain& chain, const char* op) {
    std::optional<std::vector<ValueId>> operands = all_coded(node, node.inputs.size());
    if (!operands) return false;
    append_result(*operands, chain);
    finish(node, chain, op, std::move(*operands), node.attributes);
    return true;
  }

  bool rewrite_conv(const Node& node, const Chain& chain) {
    std::optional<std::vector<ValueId>> operands = all_coded(node, 2);
    if (!operands) return false;
    append_result(*operands, chain);
    if (node.has_input(2)) {
      const std::optional<Coded> bias = coded(node.inputs[2]);
      if (!bias) return false;
      operands->push_back(bias->code);
    }
    finish(node, chain, "QLinearConv", std::move(*operands), node.attributes);
    return true;
  }

  bool rewrite_gemm(const Node& node, const Chain& chain) {
    std::optional<std::vector<ValueId>> operands = all_coded(node, 2);
    if (!operands || node.attribute("beta", 1.0f) != 1.0f) return false;
    if (chain.quantize && !can_clip(chain)) return false;
    std::optional<Coded> bias;
    if (node.has_input(2) && !(bias = coded(node.inputs[2]))) return false;
    operands->push_back(bias ? bias->code : kNoValue);
    Attributes attributes = node.attributes;
    attributes.erase("beta");
    if (chain.quantize) {
      append_result(*operands, chain);
      finish(node, chain, "com.microsoft:QGemm", std::move(*operands), std::move(attributes));
      return true;
    }
    const ValueId old = node.outputs[0];
    const std::string name = node.name;
    const ValueId y = graph_.insert_node(*graph_.value(old).producer, "com.microsoft:QGemm",
                                         std::move(*operands), std::move(attributes), name);
    graph_.replace_uses(old, y);
    return true;
  }

  bool rewrite_concat(const Node& node, const Chain& chain) {
    const std::optional<std::vector<ValueId>> parts = all_coded(node, node.inputs.size());
    if (!parts) return false;
    std::vector<ValueId> operands;
    append_result(operands, chain);
    operands.insert(operands.end(), parts->begin(), parts->end());
    finish(node, chain, "com.microsoft:QLinearConcat", std::move(operands), node.attributes);
    return true;
  }

  /// The operator itself, on integers of the same code.
  bool rewrite_mover(NodeId id, const Chain& chain) {
    static constexpr std::array<std::string_view, 8> kMovers = {
        "MaxPool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Gather"};
    const Node& node = graph_.node(id);
    const std::optional<Coded> operand = coded(node.inputs[0]);
    if (!operand || chain.activation || std::ranges::find(kMovers, node.op) == kMovers.end())
      return false;
    const Node& quantize = graph_.node(*chain.quantize);
    if (quantize.inputs[1] != operand->scale || quantize.inputs[2] != operand->zero_point)
      return false;
    std::vector<ValueId> inputs = node.inputs;
    inputs[0] = operand->code;
    finish(node, chain, node.op, std::move(inputs), node.attributes);
    return true;
  }

  // -- Activations

  struct Levels {
    double scale;
    int64_t zero, low, high;
  };

  std::optional<Levels> levels_of(const Chain& chain) const {
    const Node& quantize = graph_.node(*chain.quantize);
    const Tensor* scale = graph_.constant(quantize.inputs[1]);
    const Tensor* zero = graph_.constant(quantize.inputs[2]);
    if (!scale || !zero || scale->size() != 1 || scale->dtype() != DType::kF32) return {};
    const auto s = static_cast<double>(scale->data<float>()[0]);
    if (zero->dtype() == DType::kU8) return Levels{s, zero->data<uint8_t>()[0], 0, 255};
    if (zero->dtype() == DType::kI8) return Levels{s, zero->data<int8_t>()[0], -128, 127};
    return {};
  }

  /// The bounds an activation puts on the integers; empty where they are not known.
  std::optional<std::pair<int64_t, int64_t>> bounds(const Chain& chain) const {
    const std::optional<Levels> levels = levels_of(chain);
    if (!levels) return {};
    const auto code = [&](double x) {
      return static_cast<int64_t>(
          std::clamp(std::nearbyint(x / levels->scale) + static_cast<double>(levels->zero),
                     static_cast<double>(levels->low), static_cast<double>(levels->high)));
    };
    if (!chain.activation) return std::pair{levels->low, levels->high};
    const Node& node = graph_.node(*chain.activation);
    if (node.op == "Relu") return std::pair{code(0), levels->high};
    std::pair<int64_t, int64_t> result{levels->low, levels->high};
    for (const size_t slot : {size_t{1}, size_t{2}}) {
      if (!node.has_input(slot)) continue;
      const Tensor* bound = graph_.constant(node.inputs[slot]);
      if (!bound || bound->dtype() != DType::kF32 || bound->size() != 1) return {};
      (slot == 1 ? result.first : result.second) =
          code(static_cast<double>(bound->data<float>()[0]));
    }
    return result;
  }

  bool can_clip(const Chain& chain) const { return bounds(chain).has_value(); }

  /// Makes the operator and gives its integers to what read the QuantizeLinear's.
  void finish(const Node& node, const Chain& chain, std::string_view op,
              std::vector<ValueId> operands, Attributes attributes) {
    const std::pair<int64_t, int64_t> within = *bounds(chain);
    const Levels levels = *levels_of(chain);
    const NodeId quantize = *chain.quantize;
    const std::string name = node.name;
    ValueId y = graph_.insert_node(quantize, op, std::move(operands), std::move(attributes), name);
    if (within.first > levels.low || within.second < levels.high) {
      const DType dtype = graph_.type(graph_.node(quantize).inputs[2]).dtype;
      const auto bound = [&](const char* side, int64_t level) {
        return graph_.add_constant(name + side, cast(Tensor::scalar(level), dtype));
      };
      y = graph_.insert_node(quantize, "Clip",
                             {y, bound("_min", within.first), bound("_max", within.second)}, {},
                             name + "_clip");
    }
    graph_.replace_uses(graph_.node(quantize).outputs[0], y);
  }

  Graph& graph_;
  int64_t rewritten_ = 0;
};

}  // namespace

int64_t to_qoperators(Graph& graph) { return Rewriter(graph).run(); }

}  // namespace pare
