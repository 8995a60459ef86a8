#include "passes/quantize_int8_rewrite.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "passes/graph_edit.h"
#include "passes/power_of_two.h"

namespace pare {
namespace {

/// The bias a Conv or Gemm adds to each output channel, when it is a constant of that form.
std::optional<std::vector<double>> plain_bias(const Graph& graph, const Node& node) {
  const Tensor* bias = graph.constant(node.inputs[2]);
  const Shape& y = graph.type(node.outputs[0]).shape;
  if (!bias || y.size() < 2) return {};
  const Shape& shape = bias->shape();
  const int64_t channels = y[1];
  const bool one = bias->size() == 1 && shape.size() <= 2 && node.op == "Gemm";
  const bool each = shape == Shape{channels} || (shape == Shape{1, channels} && node.op == "Gemm");
  if (!one && !each) return {};
  std::vector<double> numbers = to_double(*bias);
  if (one) numbers.assign(static_cast<size_t>(channels), numbers[0]);
  const double beta = node.op == "Gemm" ? node.attribute("beta", 1.0f) : 1.0f;
  for (double& number : numbers) number *= beta;
  return numbers;
}

/// A stored tensor with its scale and zero point: the operands of a DequantizeLinear.
struct Stored {
  ValueId code = kNoValue, scale = kNoValue, zero_point = kNoValue;
  int axis = -1;
};

class Rewriter {
 public:
  Rewriter(Graph& graph, const QuantPlan& plan, const std::map<ValueId, ActivationCode>& codes,
           const std::map<NodeId, WeightCode>& weights, const QuantizeInt8Options& options)
      : graph_(graph), plan_(plan), codes_(codes), given_(weights), options_(options) {}

  QuantCounts run() {
    // Constants first: a bias needs to know the codes of the operands as they are now.
    for (const NodeId id : plan_.nodes) store_constants(id);
    store_activations();
    return counts_;
  }

  void store_activations() {
    for (const ValueId id : plan_.values) store_activation(id);
    graph_.infer_types();
  }

 private:
  bool is_weighted(const Node& node) const { return node.def->quant == Quant::kWeighted; }

  // -- Activations
  // ---------------------------------------------------------------------------------

  /// Scale and zero point of the values that share the code of `id`, once.
  Stored activation_constants(ValueId id) {
    const ValueId shared = plan_.code_of[index(id)];
    const auto it = activation_constants_.find(shared);
    if (it != activation_constants_.end()) return it->second;
    const ActivationCode& code = codes_.at(id);
    Stored stored = code_constants(graph_.value(id).name, code);
    activation_constants_.emplace(shared, stored);
    return stored;
  }

  Stored code_constants(const std::string& name, const ActivationCode& code) {
    Stored stored;
    stored.scale = graph_.add_constant(name + "_scale", Tensor::scalar(code.scale));
    const Tensor zero = Tensor::scalar(code.zero_point);
    stored.zero_point = graph_.add_constant(name + "_zero_point", cast(zero, code.dtype));
    return stored;
  }

  void store_activation(ValueId id) {
    const std::vector<Use> users = stored_users(id);
    const bool output = graph_.is_output(id) && plan_.made_quantized(graph_, id);
    if (users.empty() && !output) return;
    ++counts_.activations;
    Stored stored = activation_constants(id);
    const std::string name = graph_.value(id).name;
    const std::vector<ValueId> operands = {id, stored.scale, stored.zero_point};
    const std::optional<NodeId> first = first_of(users);
    stored.code =
        first ? graph_.insert_node(*first, "QuantizeLinear", operands, {}, name + "_QuantizeLinear")
              : graph_.add_node("QuantizeLinear", operands, {}, name + "_QuantizeLinear");
    std::vector<Use> in_float;  // One DequantizeLinear for all: they are one expression, often.
    std::ranges::copy_if(users, std::back_inserter(in_float),
                         [&](const Use& use) { return !reads_stored(use); });
    const ValueId real = in_float.empty() ? kNoValue : decoded(*first_of(in_float), stored, name);
    for (const Use& use : users)
      graph_.set_input(use.node, use.slot,
                       reads_stored(use) ? decoded(use.node, stored, name) : real);
    if (output) decode_output(id, stored, name);
  }

  /// The operands that read `id` in its stored form: those of INT8 nodes, and where an INT8 node
  /// makes it, all. What subgraphs capture they read by name.
  std::vector<Use> stored_users(ValueId id) const {
    const bool all = plan_.made_quantized(graph_, id);
    std::vector<Use> users;
    for (const Use& use : graph_.value(id).uses) {
      const Node& node = graph_.node(use.node);
      if (use.slot + node.captures >= node.inputs.size() && node.captures > 0) continue;
      if (all || reads_stored(use)) users.push_back(use);
    }
    return users;
  }

  bool reads_stored(const Use& use) const {
    // Nodes made here lie behind the plan's.
    if (index(use.node) >= plan_.quantized.size() || !plan_.quantized[index(use.node)])
      return false;
    const std::vector<size_t> slots = quantized_slots(graph_, graph_.node(use.node));
    return std::ranges::find(slots, use.slot) != slots.end();
  }

  std::optional<NodeId> first_of(const std::vector<Use>& users) const {
    for (const NodeId id : graph_.order()) {
      if (std::ranges::find(users, id, &Use::node) != users.end()) return id;
    }
    return {};
  }

  /// A DequantizeLinear right before `user`.
  ValueId decoded(NodeId user, const Stored& stored, const std::string& name) {
    Attributes attributes;
    if (stored.axis >= 0) attributes["axis"] = static_cast<int64_t>(stored.axis);
    return graph_.insert_node(user, "DequantizeLinear",
                              {stored.code, stored.scale, stored.zero_point}, std::move(attributes),
                              name + "_DequantizeLinear");
  }

  /// The output of the model becomes a DequantizeLinear and keeps its name.
  void decode_output(ValueId id, const Stored& stored, const std::string& name) {
    const ValueId y =
        graph_.add_node("DequantizeLinear", {stored.code, stored.scale, stored.zero_point}, {},
                        name + "_DequantizeLinear");
    const std::vector<Use> others = graph_.value(id).uses;  // QuantizeLinear, captures.
    graph_.replace_uses(id, y);
    for (const Use& use : others) graph_.set_input(use.node, use.slot, id);
  }

  // -- Constants
  // -----------------------------------------------------------------------------------

  void store_constants(NodeId id) {
    for (const size_t slot : quantized_slots(graph_, graph_.node(id))) {
      const ValueId operand = graph_.node(id).inputs[slot];
      if (!graph_.constant(operand)) continue;
      if (is_weighted(graph_.node(id)) && slot == 1) continue;
      store_operand(id, slot);
    }
    if (is_weighted(graph_.node(id))) store_weight(id);
  }

  /// A constant operand of an Add, Mul or Concat: per tensor, like an activation.
  void store_operand(NodeId id, size_t slot) {
    const ValueId operand = graph_.node(id).inputs[slot];
    const std::string name = graph_.value(operand).name;
    auto it = operands_.find(operand);
    if (it == operands_.end()) {
      const Tensor& tensor = *graph_.constant(operand);
      const ActivationCode code = operand_code(graph_.node(id), tensor);
      Stored stored = code_constants(name, code);
      stored.code = graph_.add_constant(name + "_quantized", encode(tensor, code));
      it = operands_.emplace(operand, stored).first;
      ++counts_.weights;
    }
    graph_.set_input(id, slot, decoded(id, it->second, name));
  }

  ActivationCode operand_code(const Node& node, const Tensor& tensor) const {
    MinMaxObserver observer;
    observer.observe(tensor.data<float>());
    const Range range = observer.seen() ? observer.range() : Range{};
    if (!options_.power_of_two)
      return activation_code(range, options_.activations, options_.symmetric);
    if (shares_one_code(node)) {
      for (const ValueId other : node.inputs)
        if (const auto code = codes_.find(other); code != codes_.end()) return code->second;
    }
    return power_of_two_code(range);
  }

  void store_weight(NodeId id) {
    const Node& node = graph_.node(id);
    const ValueId w = node.inputs[1];
    const std::optional<double> x_scale = product_scale(node);
    const std::optional<std::vector<double>> bias =
        x_scale && node.has_input(2) ? plain_bias(graph_, node) : std::nullopt;
    if (node.has_input(2) && !bias) ++counts_.float_biases;
    if (!graph_.constant(w)) {  // A product of two activations.
      const auto code = codes_.find(w);
      if (bias && code != codes_.end()) store_bias(id, *bias, {code->second.scale}, *x_scale);
      return;
    }
    const auto given = given_.find(id);
    bool own = given != given_.end();
    WeightCode code = own ? given->second
                          : weight_code(*graph_.constant(w), weight_axis(node),
                                        weight_steps(plan_.bits(id), options_.reduce_range));
    if (options_.power_of_two)
      for (float& scale : code.scales)
        scale = static_cast<float>(power_of_two_above(static_cast<double>(scale)));
    if (bias && make_room_for_bias(code, *bias, *x_scale)) {
      own = true;
      for (float& scale : code.scales)
        if (options_.power_of_two)
          scale = static_cast<float>(power_of_two_above(static_cast<double>(scale)));
    }
    const std::string name = graph_.value(w).name;
    graph_.set_input(id, 1, decoded(id, stored_weight(w, code, own), name));
    if (bias) store_bias(id, *bias, code.scales, *x_scale);
  }

  /// What the scale of the second operand is multiplied by to give that of the result before it is
  /// stored: the first operand's scale, times a Gemm's alpha.
  std::optional<double> product_scale(const Node& node) const {
    const auto code = codes_.find(node.inputs[0]);
    const double alpha = node.op == "Gemm" ? node.attribute("alpha", 1.0f) : 1.0f;
    if (code == codes_.end() || !(alpha > 0)) return {};
    return alpha * static_cast<double>(code->second.scale);
  }

  /// The axis of the second operand that holds output channels; -1 for one scale for all.
  int weight_axis(const Node& node) const {
    if (!options_.per_channel) return -1;
    if (node.op == "Conv") return 0;
    if (node.op == "ConvTranspose") return 1;
    if (node.op == "Gemm") return node.attribute("transB", int64_t{0}) != 0 ? 0 : 1;
    return graph_.type(node.inputs[1]).shape.size() == 2 ? 1 : -1;
  }

  /// The weight in `code`; the same constant for every node that wants it so, unless `own`.
  Stored stored_weight(ValueId w, const WeightCode& code, bool own) {
    const auto key = std::make_pair(w, code.axis);
    if (const auto it = weights_.find(key); it != weights_.end() && !own) return it->second;
    const std::string name = graph_.value(w).name;
    const Shape shape = code.axis < 0 ? Shape{} : Shape{static_cast<int64_t>(code.scales.size())};
    Stored stored{.axis = code.axis};
    const DType dtype = options_.packed && code.steps.bits <= 4 ? DType::kI4 : DType::kI8;
    stored.code =
        graph_.add_constant(name + "_quantized", encode(*graph_.constant(w), code).retyped(dtype));
    stored.scale = graph_.add_constant(name + "_scale", Tensor(shape, code.scales));
    stored.zero_point = graph_.add_constant(name + "_zero_point", Tensor(dtype, shape));
    if (!own) weights_.emplace(key, stored);
    ++counts_.weights;
    return stored;
  }

  void store_bias(NodeId id, const std::vector<double>& bias,
                  const std::vector<float>& weight_scales, double x_scale) {
    const std::string name = graph_.value(graph_.node(id).inputs[2]).name;
    const bool per_channel = weight_scales.size() > 1 || options_.per_channel;
    std::vector<float> scales(per_channel ? bias.size() : 1);
    for (size_t i = 0; i < scales.size(); ++i) {
      const float scale = weight_scales[i % weight_scales.size()];
      scales[i] = static_cast<float>(x_scale * static_cast<double>(scale));
    }
    const Shape shape = per_channel ? Shape{static_cast<int64_t>(scales.size())} : Shape{};
    Stored stored{.axis = per_channel ? 0 : -1};
    stored.code = graph_.add_constant(name + "_quantized", encode_bias(bias, scales));
    stored.scale = graph_.add_constant(name + "_scale", Tensor(shape, scales));
    stored.zero_point = graph_.add_constant(name + "_zero_point", Tensor(DType::kI32, shape));
    graph_.set_input(id, 2, decoded(id, stored, name));
    graph_.remove_attribute(id, "beta");  // plain_bias() has multiplied it in.
    ++counts_.biases;
  }

  Graph& graph_;
  const QuantPlan& plan_;
  const std::map<ValueId, ActivationCode>& codes_;
  const std::map<NodeId, WeightCode>& given_;
  const QuantizeInt8Options& options_;
  QuantCounts counts_;
  std::map<ValueId, Stored> activation_constants_;  ///< By QuantPlan::code_of.
  std::map<ValueId, Stored> operands_;              ///< Constant operands stored so far.
  std::map<std::pair<ValueId, int>, Stored> weights_;
};

}  // namespace

QuantCounts insert_codes(Graph& graph, const QuantPlan& plan,
                         const std::map<ValueId, ActivationCode>& codes,
                         const std::map<NodeId, WeightCode>& weights,
                         const QuantizeInt8Options& options) {
  return Rewriter(graph, plan, codes, weights, options).run();
}

Graph with_coded_activations(const Graph& graph, const QuantPlan& plan,
                             const std::map<ValueId, ActivationCode>& codes) {
  Graph copy = graph;
  const std::map<NodeId, WeightCode> none;
  const QuantizeInt8Options options;
  Rewriter(copy, plan, codes, none, options).store_activations();
  return copy;
}

}  // namespace pare
