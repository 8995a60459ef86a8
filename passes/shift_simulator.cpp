#include "passes/shift_simulator.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include "exec/interpreter.h"
#include "passes/power_of_two.h"
#include "passes/shift_rules.h"

namespace pare {
namespace {

/// Integers of any type up to 32 bits as 32-bit ones.
std::vector<int32_t> widened(const Tensor& tensor) {
  std::vector<int32_t> numbers;
  visit_dtype(tensor.dtype(), [&]<typename T>() {
    if constexpr (std::is_integral_v<T> && sizeof(T) <= 4 && !std::is_same_v<T, bool>)
      for (const T n : tensor.data<T>()) numbers.push_back(static_cast<int32_t>(n));
  });
  return numbers;
}

Tensor to_float(const FixedPoint& x) {
  Tensor result = Tensor::uninitialized(DType::kF32, x.shape);
  const std::span<float> to = result.mutable_data<float>();
  for (size_t i = 0; i < to.size(); ++i)
    to[i] = std::ldexp(static_cast<float>(x.numbers[i]), x.exponent);
  return result;
}

/// A float constant as multiples of 2^exponent; empty where one is none.
std::optional<FixedPoint> exact(const Tensor& tensor, int exponent) {
  FixedPoint result{tensor.shape(), {}, exponent};
  for (const float value : tensor.data<float>()) {
    const double n = std::ldexp(static_cast<double>(value), -exponent);
    if (n != std::nearbyint(n) || std::abs(n) > 2147483647.0) return {};
    result.numbers.push_back(static_cast<int32_t>(n));
  }
  return result;
}

class Simulator {
 public:
  Simulator(const Graph& graph, ShiftRounding rounding, const CodeHook& hook)
      : graph_(graph), rounding_(rounding), hook_(hook), integer_(integer_nodes(graph)) {}

  std::vector<Tensor> run(const std::vector<Tensor>& inputs) {
    for (size_t i = 0; i < inputs.size(); ++i) floats_[graph_.inputs()[i]] = inputs[i];
    for (const NodeId id : graph_.order())
      with_context([&] { return describe(graph_.node(id)); }, [&] { step(id); });
    std::vector<Tensor> outputs;
    for (const ValueId id : graph_.outputs()) outputs.push_back(in_float(id));
    return outputs;
  }

 private:
  const FixedPoint* fixed(ValueId id) const {
    const auto it = fixed_.find(id);
    return it == fixed_.end() ? nullptr : &it->second;
  }

  Tensor in_float(ValueId id) const {
    if (const FixedPoint* x = fixed(id)) return to_float(*x);
    if (const Tensor* constant = graph_.constant(id)) return *constant;
    return floats_.at(id);
  }

  void step(NodeId id) {
    const Node& node = graph_.node(id);
    if (node.op == "QuantizeLinear") return quantize(id);
    if (node.op == "DequantizeLinear") return dequantize(node);
    if (!integer_[index(id)]) return evaluate_float(node);
    fixed_[node.outputs[0]] = compute(node);
  }

  void evaluate_float(const Node& node) {
    std::vector<Tensor> kept;
    std::vector<const Tensor*> operands;
    kept.reserve(node.inputs.size());
    for (const ValueId input : node.inputs) {
      if (input != kNoValue) kept.push_back(in_float(input));
      operands.push_back(input == kNoValue ? nullptr : &kept.back());
    }
    const std::vector<Tensor> results = evaluate(node, operands);
    for (size_t i = 0; i < results.size() && i < node.outputs.size(); ++i)
      if (node.outputs[i] != kNoValue) floats_[node.outputs[i]] = results[i];
  }

  int scale_exponent(const Node& node) const {
    const std::optional<int> exponent = exponent_of_scale(graph_, node.inputs[1]);
    if (!exponent) throw Error(ErrorKind::kUnsupported, "its scale is no power of two");
    return *exponent;
  }

  void quantize(NodeId id) {
    const Node& node = graph_.node(id);
    const int exponent = scale_exponent(node);
    constexpr int32_t kLow = -128, kHigh = 127;
    FixedPoint codes;
    if (const FixedPoint* x = fixed(node.inputs[0])) {
      codes = rescaled(*x, exponent, kLow, kHigh, rounding_);
    } else {  // At the border: an image, or what a processor computed.
      const Tensor value = in_float(node.inputs[0]);
      codes = {value.shape(), {}, exponent};
      for (const float v : value.data<float>())
        codes.numbers.push_back(static_cast<int32_t>(
            std::clamp(std::nearbyint(std::ldexp(v, -exponent)), float{kLow}, float{kHigh})));
    }
    hook_(id, codes);
    fixed_[node.outputs[0]] = std::move(codes);
  }

  void dequantize(const Node& node) {
    const int exponent = scale_exponent(node);
    if (const FixedPoint* codes = fixed(node.inputs[0])) {
      FixedPoint x = *codes;
      x.exponent = exponent;
      fixed_[node.outputs[0]] = std::move(x);
      return;
    }
    const Tensor* constant = graph_.constant(node.inputs[0]);
    if (!constant) throw Error(ErrorKind::kUnsupported, "it reads integers nothing quantized");
    fixed_[node.outputs[0]] = {constant->shape(), widened(*constant), exponent};
  }

  /// Operand `slot`, where a float constant must lie on the grid of 2^exponent.
  FixedPoint operand(const Node& node, size_t slot, int exponent) const {
    if (const FixedPoint* x = fixed(node.inputs[slot])) return *x;
    const Tensor* constant = graph_.constant(node.inputs[slot]);
    std::optional<FixedPoint> x;
    if (constant && constant->dtype() == DType::kF32) x = exact(*constant, exponent);
    if (!x)
      throw Error(ErrorKind::kUnsupported,
                  "operand '" + graph_.value(node.inputs[slot]).name +
                      "' is float and no multiple of the step of the integers beside it");
    return *x;
  }
  FixedPoint operand(const Node& node, size_t slot) const {
    const FixedPoint* x = fixed(node.inputs[slot]);
    if (!x) throw Error(ErrorKind::kUnsupported, "an operand is not quantized");
    return *x;
  }

  FixedPoint compute(const Node& node) const {
    if (node.op == "Conv") {
      std::optional<FixedPoint> bias;
      if (node.has_input(2)) bias = operand(node, 2);
      return convolve(node, operand(node, 0), operand(node, 1), bias ? &*bias : nullptr);
    }
    if (node.op == "Gemm") return gemm(node);
    if (node.op == "MatMul") return multiply_matrices(operand(node, 0), operand(node, 1));
    if (node.op == "MaxPool") return max_pool(node, operand(node, 0));
    if (node.op == "AveragePool" || node.op == "GlobalAveragePool") {
      const std::optional<PoolFactor> factor = pool_factor(graph_, node);
      if (!factor) throw Error(ErrorKind::kUnsupported, "its windows differ in size");
      return sum_pool(node, operand(node, 0), factor->multiplier, factor->shift);
    }
    if (node.op == "Relu") return clipped(operand(node, 0), 0.0, {});
    if (node.op == "Clip") return clip(node);
    if (node.op == "Mul") return multiply(node);
    if (const std::optional<Combine> op = combination(node)) return combine(node, *op);
    return moved(node);
  }

  static std::optional<Combine> combination(const Node& node) {
    if (node.op == "Add" || node.op == "Sum") return Combine::kAdd;
    if (node.op == "Sub") return Combine::kSubtract;
    if (node.op == "Max") return Combine::kLarger;
    if (node.op == "Min") return Combine::kSmaller;
    return {};
  }

  FixedPoint combine(const Node& node, Combine op) const {
    int finest = 0;
    for (const ValueId input : node.inputs)
      if (const FixedPoint* x = fixed(input)) finest = std::min(finest, x->exponent);
    FixedPoint result = operand(node, 0, finest);
    for (size_t slot = 1; slot < node.inputs.size(); ++slot)
      result = combined(op, result, operand(node, slot, finest));
    return result;
  }

  FixedPoint multiply(const Node& node) const {
    // The pool before it has multiplied by it.
    if (is_pool_factor(graph_, node)) return operand(node, 0);
    return multiplied(operand(node, 0), operand(node, 1));
  }

  FixedPoint gemm(const Node& node) const {
    if (node.attribute("alpha", 1.0f) != 1.0f || node.attribute("beta", 1.0f) != 1.0f)
      throw Error(ErrorKind::kUnsupported, "alpha and beta are not 1");
    FixedPoint a = operand(node, 0), b = operand(node, 1);
    if (node.attribute("transA", int64_t{0}) != 0) a = transposed(a);
    if (node.attribute("transB", int64_t{0}) != 0) b = transposed(b);
    const FixedPoint sums = multiply_matrices(a, b);
    return node.has_input(2) ? combined(Combine::kAdd, sums, operand(node, 2)) : sums;
  }

  FixedPoint clip(const Node& node) const {
    const auto bound = [&](size_t slot, const char* attribute) -> std::optional<double> {
      const Tensor* given = node.has_input(slot) ? graph_.constant(node.inputs[slot]) : nullptr;
      if (node.has_input(slot) && !given)
        throw Error(ErrorKind::kUnsupported, "its bounds are computed");
      if (given) return static_cast<double>(given->data<float>()[0]);
      if (!node.has_attribute(attribute)) return {};
      return static_cast<double>(node.attribute(attribute, 0.0f));
    };
    return clipped(operand(node, 0), bound(1, "min"), bound(2, "max"));
  }

  /// Bounds become the nearest integers.
  static FixedPoint clipped(FixedPoint x, std::optional<double> low, std::optional<double> high) {
    const auto integer = [&](double bound) {
      const double n = std::nearbyint(std::ldexp(bound, -x.exponent));
      return static_cast<int32_t>(std::clamp(n, -2147483648.0, 2147483647.0));
    };
    for (int32_t& n : x.numbers) {
      if (low) n = std::max(n, integer(*low));
      if (high) n = std::min(n, integer(*high));
    }
    return x;
  }

  /// An operator that only moves elements, by its own meaning on integers.
  FixedPoint moved(const Node& node) const {
    static constexpr std::string_view kMoves[] = {
        "Concat", "DepthToSpace", "Expand",  "Flatten",   "Gather", "Identity", "Reshape",
        "Slice",  "SpaceToDepth", "Squeeze", "Transpose", "Tile",   "Unsqueeze"};
    if (std::ranges::find(kMoves, node.op) == std::end(kMoves))
      throw Error(ErrorKind::kUnsupported, "the simulator has no integer form of this operator");
    std::vector<Tensor> kept;
    std::vector<const Tensor*> operands;
    kept.reserve(node.inputs.size());
    int exponent = 0;
    for (const ValueId input : node.inputs) {
      const FixedPoint* x = input == kNoValue ? nullptr : fixed(input);
      if (x) exponent = x->exponent;
      if (input != kNoValue) kept.push_back(x ? Tensor(x->shape, x->numbers) : in_float(input));
      operands.push_back(input == kNoValue ? nullptr : &kept.back());
    }
    const Tensor result = evaluate(node, operands).at(0);
    return {result.shape(), widened(result), exponent};
  }

  const Graph& graph_;
  const ShiftRounding rounding_;
  const CodeHook& hook_;
  const std::vector<bool> integer_;
  std::map<ValueId, FixedPoint> fixed_;
  std::map<ValueId, Tensor> floats_;
};

}  // namespace

std::vector<Tensor> simulate_shifts(const Graph& graph, const std::vector<Tensor>& inputs,
                                    ShiftRounding rounding, const CodeHook& hook) {
  return Simulator(graph, rounding, hook).run(inputs);
}

}  // namespace pare
