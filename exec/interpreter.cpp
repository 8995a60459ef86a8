#include "exec/interpreter.h"

#include <algorithm>
#include <deque>

namespace pare {
namespace {

bool is_half(DType dtype) { return dtype == DType::kF16 || dtype == DType::kBF16; }

/// Position in the order after which each value is dead; outputs live on.
std::vector<size_t> last_uses(const Graph& graph) {
  std::vector<size_t> last(graph.value_count(), 0);
  for (size_t i = 0; i < graph.order().size(); ++i) {
    for (ValueId input : graph.node(graph.order()[i]).inputs) {
      if (input != kNoValue) last[index(input)] = i;
    }
  }
  for (ValueId output : graph.outputs()) last[index(output)] = graph.order().size();
  return last;
}

}  // namespace

std::vector<Tensor> evaluate(const Node& node, std::span<const Tensor* const> operands) {
  if (!node.def || !node.def->eval)
    throw Error(ErrorKind::kUnsupported, "this operator cannot be executed");
  const auto half =
      std::ranges::find_if(operands, [](const Tensor* x) { return x && is_half(x->dtype()); });
  if (half == operands.end() || node.def->native_half) return node.def->eval(node, operands);

  const DType dtype = (*half)->dtype();
  std::deque<Tensor> widened;
  std::vector<const Tensor*> wide(operands.begin(), operands.end());
  for (const Tensor*& x : wide) {
    if (x && is_half(x->dtype())) x = &widened.emplace_back(cast(*x, DType::kF32));
  }
  std::vector<Tensor> results = node.def->eval(node, wide);
  for (Tensor& result : results) {
    if (result.dtype() == DType::kF32) result = cast(result, dtype);
  }
  return results;
}

std::vector<Tensor> execute(const Graph& graph, const std::vector<Tensor>& inputs,
                            const ValueHook& hook) {
  PARE_CHECK(inputs.size() == graph.inputs().size(), "wrong number of inputs");
  const std::vector<size_t> last = last_uses(graph);
  std::vector<Tensor> computed(graph.value_count());
  const auto publish = [&](ValueId id, Tensor tensor) {
    if (id == kNoValue) return;
    if (hook) hook(id, tensor);
    computed[index(id)] = std::move(tensor);
  };
  const auto fetch = [&](ValueId id) -> const Tensor* {
    if (id == kNoValue) return nullptr;
    const TensorRef& constant = graph.value(id).constant;
    return constant ? constant.get() : &computed[index(id)];
  };

  for (size_t i = 0; i < inputs.size(); ++i) publish(graph.inputs()[i], inputs[i]);
  for (size_t position = 0; position < graph.order().size(); ++position) {
    const Node& node = graph.node(graph.order()[position]);
    with_context([&] { return describe(node); },
                 [&] {
                   std::vector<const Tensor*> operands;
                   for (ValueId input : node.inputs) operands.push_back(fetch(input));
                   std::vector<Tensor> results = evaluate(node, operands);
                   for (size_t i = 0; i < node.outputs.size() && i < results.size(); ++i)
                     publish(node.outputs[i], std::move(results[i]));
                 });
    for (ValueId input : node.inputs) {
      if (input != kNoValue && last[index(input)] == position) computed[index(input)] = Tensor();
    }
  }
  std::vector<Tensor> outputs;
  for (ValueId id : graph.outputs()) outputs.push_back(*fetch(id));
  return outputs;
}

}  // namespace pare
