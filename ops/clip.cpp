// ONNX Clip: y = min(max(x, low), high). The bounds are attributes before opset 11, scalar operands
// since. https://onnx.ai/onnx/operators/onnx__Clip.html

#include <limits>

#include "ir/channel_slots.h"
#include "ops/axes.h"
#include "ops/elementwise.h"
#include "ops/rows.h"

namespace pare {
namespace {

using Tensors = std::span<const Tensor* const>;

constexpr int64_t kBoundsAreOperands = 11;

std::vector<TensorType> infer(const Node& node, Operands in) {
  require_dtype(
      in[0], [](DType t) { return is_float(t) || is_integer(t); }, "numbers");
  require_one_dtype(in);
  for (size_t i = 1; i < in.size(); ++i) {
    if (in[i] && element_count(in[i].shape()) != 1)
      throw Error(ErrorKind::kInput,
                  "bound " + to_string(in[i].shape()) + " must be a single number");
  }
  return infer_like_first(node, in);
}

/// Bound `slot`: the operand, else the attribute an old opset has, else `fallback`.
template <typename T>
T bound(const Node& node, Tensors in, size_t slot, T fallback) {
  if (const Tensor* operand = operand_or_null(in, slot)) return operand->data<T>()[0];
  const char* name = slot == 1 ? "min" : "max";
  if (node.opset < kBoundsAreOperands && node.has_attribute(name))
    return static_cast<T>(node.attribute(name, 0.0f));
  return fallback;
}

std::vector<Tensor> eval(const Node& node, Tensors in) {
  (void)infer(node, as_operands(in));
  return {visit_number(in[0]->dtype(), [&]<typename T>() {
    using Limits = std::numeric_limits<T>;
    const T lowest = Limits::has_infinity ? static_cast<T>(-Limits::infinity()) : Limits::lowest();
    const T highest = Limits::has_infinity ? Limits::infinity() : Limits::max();
    const T low = bound(node, in, 1, lowest), high = bound(node, in, 2, highest);
    return map_elements<T, T>(*in[0], [=](T x) {
      const T raised = x < low ? low : x;
      return high < raised ? high : raised;
    });
  })};
}

void upgrade(Graph& graph, NodeId id, int64_t target) {
  if (graph.node(id).opset >= kBoundsAreOperands || target < kBoundsAreOperands) return;
  const DType dtype = graph.type(graph.node(id).inputs[0]).dtype;
  for (size_t slot : {size_t{1}, size_t{2}}) {
    const std::string name = slot == 1 ? "min" : "max";
    if (!graph.node(id).has_attribute(name)) continue;
    const Tensor value = cast(Tensor::scalar(graph.node(id).attribute(name, 0.0f)), dtype);
    graph.set_input(id, slot, graph.add_constant(graph.node(id).name + "_" + name, value));
    graph.remove_attribute(id, name);
  }
}

}  // namespace

constinit const OpDef kClip = {.name = "Clip",
                               .min_inputs = 1,
                               .max_inputs = 3,
                               .infer = infer,
                               .tie = tie_like_first,
                               .channels = kLikeFirstChannels,
                               .other_ops = one_per_output,
                               .eval = eval,
                               .quant = Quant::kActivation,
                               .upgrade = upgrade};

}  // namespace pare
