#include "passes/dequantize.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "exec/interpreter.h"
#include "passes/dequantized.h"
#include "passes/graph_edit.h"

namespace pare {
namespace {

/// A QLinear operator: the float one it stands for, and where the operands are.
struct Form {
  std::string_view op, becomes;
  std::vector<size_t> coded;  ///< Slots of integers; scale and zero point follow each.
  size_t result = 0;          ///< Slot of the result's scale.
  size_t bias = 0;            ///< Slot of an int32 bias at the scale of the sums; 0 for none.
};

const std::vector<Form>& forms() {
  static const std::vector<Form> kForms = {
      {"QLinearConv", "Conv", {0, 3}, 6, 8},
      {"QLinearMatMul", "MatMul", {0, 3}, 6, 0},
      {"QGemm", "Gemm", {0, 3}, 7, 6},
      {"QLinearAdd", "Add", {0, 3}, 6, 0},
      {"QLinearMul", "Mul", {0, 3}, 6, 0},
      {"QLinearAveragePool", "AveragePool", {0}, 3, 0},
      {"QLinearGlobalAveragePool", "GlobalAveragePool", {0}, 3, 0},
      {"QLinearLeakyRelu", "LeakyRelu", {0}, 3, 0},
      {"QLinearSigmoid", "Sigmoid", {0}, 3, 0}};
  return kForms;
}

/// What the integers of a code reach, in float.
struct Reach {
  double low, high, step;
};

class Dequantizer {
 public:
  explicit Dequantizer(Graph& graph) : graph_(graph) {}

  PassStats run() {
    for (const NodeId id : std::vector<NodeId>(graph_.order()))
      with_context([&] { return describe(graph_.node(id)); }, [&] { step(id); });
    remove_unused_nodes(graph_);
    graph_.infer_types();
    return {{"weights taken back to float", weights_},
            {"pairs removed", pairs_},
            {"operators taken back to float", operators_},
            {"activations put in", activations_}};
  }

 private:
  void step(NodeId id) {
    const Node& node = graph_.node(id);
    if (node.op == "DequantizeLinear") return decode(id);
    if (node.op == "QuantizeLinear") return encode(id);
    if (node.op == "QLinearConcat") return concat(id);
    const auto form = std::ranges::find(forms(), node.op, &Form::op);
    if (form != forms().end()) return replace(id, *form);
    move(id);
  }

  /// The float value that an integer one stands for.
  std::optional<ValueId> float_of(ValueId id) const {
    const auto it = floats_.find(id);
    if (it == floats_.end()) return {};
    return it->second;
  }

  void decode(NodeId id) {
    const Node& node = graph_.node(id);
    const ValueId y = node.outputs[0];
    if (std::optional<Tensor> constant = dequantized_constant(graph_, y)) {
      const ValueId value =
          graph_.add_constant(graph_.value(node.inputs[0]).name + "_float", std::move(*constant));
      ++weights_;
      return graph_.replace_uses(y, value);
    }
    const std::optional<ValueId> x = float_of(node.inputs[0]);
    if (!x || !can_replace(graph_, y, *x)) return;
    ++pairs_;
    graph_.replace_uses(y, *x);
  }

  void encode(NodeId id) {
    const Node& node = graph_.node(id);
    if (graph_.is_output(node.outputs[0])) return;
    stands_for(node.outputs[0], clipped(id, node.inputs[0], node, 1), node, 1);
  }

  /// `code` are the integers of `x`; their scale and zero point are operands `slot` and the next.
  void stands_for(ValueId code, ValueId x, const Node& node, size_t slot) {
    floats_[code] = x;
    if (node.has_input(slot + 1)) codes_[code] = {node.inputs[slot], node.inputs[slot + 1]};
  }

  /// Scale and zero point in operands `slot` and `slot` + 1 of `node`.
  std::optional<Reach> reach_of(const Node& node, size_t slot) const {
    const Tensor* scale = node.has_input(slot) ? graph_.constant(node.inputs[slot]) : nullptr;
    const Tensor* zero =
        node.has_input(slot + 1) ? graph_.constant(node.inputs[slot + 1]) : nullptr;
    if (!scale || !zero || scale->size() != 1 || zero->size() != 1) return {};
    const DType dtype = zero->dtype();
    if (dtype != DType::kU8 && dtype != DType::kI8) return {};
    const double step = cast(*scale, DType::kF64).data<double>()[0];
    const double z = cast(*zero, DType::kF64).data<double>()[0];
    const double lowest = dtype == DType::kU8 ? 0 : -128;
    return Reach{(lowest - z) * step, (lowest + 255 - z) * step, step};
  }

  /// `x`, behind a Relu or Clip where the code that `node` stores it in does the work of one.
  ValueId clipped(NodeId before, ValueId x, const Node& node, size_t slot) {
    const std::optional<Reach> reach = reach_of(node, slot);
    if (!reach || reach->low != 0 || is_not_negative(x)) return x;
    ++activations_;
    const std::string name = graph_.value(x).name;
    constexpr double kSix = 6;
    if (std::abs(reach->high - kSix) > reach->step)
      return graph_.insert_node(before, "Relu", {x}, {}, name + "_relu");
    const ValueId low = graph_.add_constant(name + "_min", Tensor::scalar(0.0f));
    const ValueId high = graph_.add_constant(name + "_max", Tensor::scalar(6.0f));
    return graph_.insert_node(before, "Clip", {x, low, high}, {}, name + "_clip");
  }

  /// Known to be 0 or more: an image, or behind an operator that says so.
  bool is_not_negative(ValueId id) const {
    static constexpr std::array<std::string_view, 6> kNotNegative = {
        "Relu", "Clip", "Sigmoid", "Softmax", "HardSigmoid", "Abs"};
    static constexpr std::array<std::string_view, 9> kKeep = {
        "MaxPool",   "Reshape", "Flatten",     "Transpose",        "Squeeze",
        "Unsqueeze", "Slice",   "AveragePool", "GlobalAveragePool"};
    for (;;) {
      const std::optional<NodeId> producer = graph_.value(id).producer;
      if (!producer) return true;
      const Node& node = graph_.node(*producer);
      if (std::ranges::find(kNotNegative, node.op) != kNotNegative.end()) return true;
      if (node.op == "Concat" || node.op == "Add")
        return std::ranges::all_of(
            node.inputs, [&](ValueId x) { return !graph_.constant(x) && is_not_negative(x); });
      if (std::ranges::find(kKeep, node.op) == kKeep.end()) return false;
      id = node.inputs[0];
    }
  }

  /// Integer operand `slot` of a QLinear node as float; empty where it is decided by data.
  std::optional<ValueId> operand(const Node& node, size_t slot, int64_t axis) {
    const ValueId code = node.inputs[slot];
    if (const std::optional<ValueId> x = float_of(code)) return x;
    if (!graph_.constant(code)) return {};
    const std::array<ValueId, 3> parts = {code, node.inputs[slot + 1], node.inputs[slot + 2]};
    return constant_of(parts, axis);
  }

  std::optional<ValueId> constant_of(const std::array<ValueId, 3>& parts, int64_t axis) {
    std::vector<const Tensor*> operands;
    for (const ValueId part : parts) {
      operands.push_back(part == kNoValue ? nullptr : graph_.constant(part));
      if (part != kNoValue && !operands.back()) return {};
    }
    Node decode;
    decode.op = "DequantizeLinear";
    decode.def = graph_.ops().find({}, decode.op);
    decode.opset = graph_.opset();
    decode.attributes["axis"] = axis;
    ++weights_;
    return graph_.add_constant(graph_.value(parts[0]).name + "_float",
                               evaluate(decode, operands).at(0));
  }

  /// The axis of the weight's scales.
  static int64_t weight_axis(const Node& node) {
    if (node.op == "QLinearConv") return 0;
    return node.op == "QGemm" && node.attribute("transB", int64_t{0}) != 0 ? 0 : 1;
  }

  std::optional<ValueId> bias_of(const Node& node, const Form& form) {
    const Tensor* bias = graph_.constant(node.inputs[form.bias]);
    const Tensor* x = graph_.constant(node.inputs[1]);
    const Tensor* w = graph_.constant(node.inputs[4]);
    if (!bias || !x || !w || bias->dtype() != DType::kI32) return {};
    const double alpha = static_cast<double>(node.attribute("alpha", 1.0f));
    const double x_scale = cast(*x, DType::kF64).data<double>()[0] * alpha;
    const Tensor scales = cast(*w, DType::kF64);
    std::vector<double> numbers = to_double(cast(*bias, DType::kF32));
    const std::span<const double> w_scales = scales.data<double>();
    for (size_t i = 0; i < numbers.size(); ++i)
      numbers[i] *= x_scale * w_scales[i % w_scales.size()];
    return graph_.add_constant(graph_.value(node.inputs[form.bias]).name + "_float",
                               from_double(numbers, {DType::kF32, bias->shape()}));
  }

  void replace(NodeId id, const Form& form) {
    const Node& node = graph_.node(id);
    std::vector<ValueId> operands;
    for (const size_t slot : form.coded) {
      const std::optional<ValueId> x = operand(node, slot, slot == 0 ? 0 : weight_axis(node));
      if (!x) return;
      operands.push_back(*x);
    }
    if (form.bias > 0 && node.has_input(form.bias)) {
      const std::optional<ValueId> bias = bias_of(node, form);
      if (!bias) return;
      operands.push_back(*bias);
    }
    Attributes attributes = node.attributes;
    attributes.erase("channels_last");
    store_result(id, form.becomes, std::move(operands), std::move(attributes), form.result);
  }

  void concat(NodeId id) {
    const Node& node = graph_.node(id);
    std::vector<ValueId> operands;
    for (size_t slot = 2; slot + 2 < node.inputs.size(); slot += 3) {
      const std::optional<ValueId> x = operand(node, slot, 0);
      if (!x) return;
      operands.push_back(*x);
    }
    store_result(id, "Concat", std::move(operands), node.attributes, 0);
  }

  /// Makes the float operator; its result stands for the integers of `id`, which an output of the
  /// model still wants.
  void store_result(NodeId id, std::string_view op, std::vector<ValueId> operands,
                    Attributes attributes, size_t slot) {
    const Node& node = graph_.node(id);
    const ValueId y = node.outputs[0];
    const std::string name = node.name;
    ++operators_;
    ValueId x =
        graph_.insert_node(id, op, std::move(operands), std::move(attributes), name + "_float");
    if (!node.has_input(slot)) return graph_.replace_uses(y, x);  // A QGemm with a float result.
    x = clipped(id, x, node, slot);
    stands_for(y, x, node, slot);
    if (!graph_.is_output(y)) return;
    const ValueId code = graph_.insert_node(
        id, "QuantizeLinear", {x, node.inputs[slot], node.inputs[slot + 1]}, {}, name + "_output");
    graph_.replace_uses(y, code);
    floats_[code] = x;
  }

  /// An operator that moves integers moves what they stand for.
  void move(NodeId id) {
    const Node& node = graph_.node(id);
    if (node.inputs.empty() || !node.def) return;
    if (node.op == "Clip") return clip(id);
    if (node.def->quant != Quant::kPassThrough) return;
    const std::optional<ValueId> x = float_of(node.inputs[0]);
    if (!x || std::ranges::any_of(node.outputs,
                                  [&](ValueId y) { return y != kNoValue && graph_.is_output(y); }))
      return;
    const auto code = codes_.find(node.inputs[0]);
    graph_.set_input(id, 0, *x);
    graph_.infer_types(id);
    for (const ValueId y : graph_.node(id).outputs) {
      if (y == kNoValue) continue;
      floats_[y] = y;
      if (code != codes_.end()) codes_[y] = code->second;
    }
  }

  /// A Clip of integers, with the bounds they stand for.
  void clip(NodeId id) {
    const Node& node = graph_.node(id);
    const std::optional<ValueId> x = float_of(node.inputs[0]);
    const auto code = codes_.find(node.inputs[0]);
    if (!x || code == codes_.end() || graph_.is_output(node.outputs[0])) return;
    std::vector<ValueId> operands = {*x};
    for (size_t slot = 1; slot < node.inputs.size(); ++slot) {
      const std::optional<ValueId> bound =
          node.has_input(slot)
              ? constant_of({node.inputs[slot], code->second.scale, code->second.zero_point}, 0)
              : std::optional(kNoValue);
      if (!bound) return;
      operands.push_back(*bound);
    }
    graph_.set_inputs(id, std::move(operands));
    graph_.infer_types(id);
    floats_[node.outputs[0]] = node.outputs[0];
    codes_[node.outputs[0]] = code->second;
  }

  struct Code {
    ValueId scale, zero_point;
  };

  Graph& graph_;
  std::map<ValueId, ValueId> floats_;  ///< By integers.
  std::map<ValueId, Code> codes_;      ///< By integers.
  int64_t weights_ = 0, pairs_ = 0, operators_ = 0, activations_ = 0;
};

class Dequantize final : public Pass {
 public:
  std::string_view name() const override { return "dequantize"; }
  Effect effect() const override { return Effect::kLossy; }
  PassStats run(Graph& graph, PassContext&) override { return Dequantizer(graph).run(); }
};

}  // namespace

std::unique_ptr<Pass> make_dequantize() { return std::make_unique<Dequantize>(); }

}  // namespace pare
