#include "passes/prune_channels_proof.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "exec/interpreter.h"

namespace pare {
namespace {

/// Largest relative difference that float rounding is let to make, by element type of the outputs;
/// where a network amplifies rounding, as many times what moving its weights by a bit does.
constexpr double kTolerance = 1e-5, kHalfTolerance = 2e-2, kAmplified = 8;

/// Setting this operand to zero would divide by it, or change what zero is.
bool must_stay(const Graph& graph, const Use& use) {
  const std::string& op = graph.node(use.node).op;
  return (op == "Div" && use.slot == 1) || (op == "BatchNormalization" && use.slot == 4) ||
         op == "Pow" || op == "Reciprocal" || op == "Log" ||
         ((op == "QuantizeLinear" || op == "DequantizeLinear") && use.slot > 0);
}

/// The byte that stands for zero: a quantized weight's zero point where it has one for all.
std::byte zero_byte(const Graph& graph, const Value& value) {
  if (value.uses.size() != 1) return std::byte{0};
  const Node& user = graph.node(value.uses[0].node);
  if (user.op != "DequantizeLinear" || !user.has_input(2)) return std::byte{0};
  const Tensor* point = graph.constant(user.inputs[2]);
  if (!point || point->bytes().empty() || element_size(point->dtype()) != 1) return std::byte{0};
  return point->bytes()[0];
}

/// Sets the doomed slices of one constant to zero.
Tensor masked(const Graph& graph, ValueId id, const ChannelSlots& slots,
              const std::function<bool(uint32_t)>& doomed) {
  const Tensor& tensor = *graph.constant(id);
  const auto zero = static_cast<int>(zero_byte(graph, graph.value(id)));
  Tensor result = tensor;
  const Shape& shape = tensor.shape();
  const size_t width = element_size(tensor.dtype());
  size_t inner = width;  // Bytes of one index of the axis.
  for (size_t axis = shape.size(); axis-- > 0;) {
    const auto extent = static_cast<size_t>(shape[axis]);
    for (size_t i = 0; i < extent; ++i) {
      const Dim dim{id, static_cast<int>(axis)};
      if (!doomed(slots.group_of(dim, static_cast<int64_t>(i)))) continue;
      const std::span<std::byte> bytes = result.mutable_bytes();
      for (size_t at = i * inner; at < bytes.size(); at += extent * inner)
        std::memset(bytes.data() + at, zero, inner);
    }
    inner *= extent;
  }
  return result;
}

Graph mask(const Graph& original, const ChannelSlots& slots,
           const std::function<bool(uint32_t)>& doomed) {
  Graph graph = original;
  for (uint32_t i = 0; i < original.value_count(); ++i) {
    const Value& value = original.value(ValueId{i});
    if (!value.constant || value.uses.empty() || element_size(value.type.dtype) == 0) continue;
    if (!is_float(value.type.dtype) && bit_width(value.type.dtype) > 8) continue;
    if (std::ranges::any_of(value.uses, [&](const Use& use) { return must_stay(graph, use); }))
      continue;
    graph.set_constant(ValueId{i}, masked(original, ValueId{i}, slots, doomed));
  }
  return graph;
}

/// The graph with every float32 weight moved by its last bits, one up, the next down.
Graph with_moved_weights(const Graph& graph) {
  Graph moved = graph;
  for (uint32_t i = 0; i < graph.value_count(); ++i) {
    const Tensor* constant = graph.constant(ValueId{i});
    if (!constant || constant->dtype() != DType::kF32) continue;
    Tensor tensor = *constant;
    float nudge = std::numeric_limits<float>::epsilon();
    for (float& x : tensor.mutable_data<float>()) x += x * nudge, nudge = -nudge;
    moved.set_constant(ValueId{i}, std::move(tensor));
  }
  return moved;
}

/// The largest difference between float outputs over the largest element.
double difference(const std::vector<Tensor>& expected, const std::vector<Tensor>& actual) {
  double worst = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    if (!is_float(expected[i].dtype())) continue;  // Arg max and the like jump.
    const Tensor a = cast(expected[i], DType::kF32), b = cast(actual[i], DType::kF32);
    PARE_CHECK(a.shape() == b.shape(), "pruning changed the shape of an output");
    double largest = 0, apart = 0;
    for (size_t k = 0; k < a.data<float>().size(); ++k) {
      const double x = static_cast<double>(a.data<float>()[k]);
      const double y = static_cast<double>(b.data<float>()[k]);
      if (!std::isfinite(x)) continue;
      largest = std::max(largest, std::abs(x));
      apart = std::isfinite(y) ? std::max(apart, std::abs(x - y)) : INFINITY;
    }
    worst = std::max(worst, largest > 0 ? apart / largest : apart);
  }
  return worst;
}

}  // namespace

bool executable(const Graph& graph) {
  return std::ranges::all_of(
      graph.order(), [&](NodeId id) { return graph.node(id).def && graph.node(id).def->eval; });
}

std::vector<Tensor> synthetic_inputs(const Graph& graph) {
  std::vector<Tensor> inputs;
  for (ValueId id : graph.inputs()) {
    const TensorType& type = graph.type(id);
    Tensor& input = inputs.emplace_back(type.dtype, graph.shape(id));
    if (!is_float(type.dtype)) continue;
    std::vector<float> values(static_cast<size_t>(input.size()));
    uint32_t state = 1;
    for (float& value : values) {
      state = state * 1664525u + 1013904223u;  // Numerical Recipes' linear congruential generator.
      value = static_cast<float>(state >> 8) / 8388608.0f - 1.0f;
    }
    input = cast(Tensor(graph.shape(id), values), type.dtype);
  }
  return inputs;
}

double prove_removal(const Graph& original, const Graph& pruned, const ChannelSlots& slots,
                     const std::function<bool(uint32_t)>& doomed,
                     const std::vector<Tensor>& inputs) {
  const Graph reference = mask(original, slots, doomed);
  const std::vector<Tensor> expected = execute(reference, inputs);
  const double worst = difference(expected, execute(pruned, inputs));
  const bool halves = std::ranges::any_of(expected, [](const Tensor& tensor) {
    return is_float(tensor.dtype()) && tensor.dtype() != DType::kF32;
  });
  double tolerance = halves ? kHalfTolerance : kTolerance;
  if (worst > tolerance)
    tolerance =
        std::max(tolerance,
                 kAmplified * difference(expected, execute(with_moved_weights(reference), inputs)));
  PARE_CHECK(worst <= tolerance,
             "the pruned network does not compute what the original does with "
             "the removed channels at zero; relative difference " +
                 std::to_string(worst));
  return worst;
}

}  // namespace pare
