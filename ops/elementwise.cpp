#include "ops/elementwise.h"

#include "ir/channel_slots.h"

namespace pare {
namespace {

uint64_t elements(const TensorType& type) {
  return type.known() ? static_cast<uint64_t>(element_count(type.shape)) : 0;
}

}  // namespace

std::vector<Operand> as_operands(std::span<const Tensor* const> tensors) {
  std::vector<Operand> operands;
  for (const Tensor* tensor : tensors)
    operands.push_back(tensor ? Operand{&tensor->type(), tensor} : Operand{});
  return operands;
}

void require_dtype(const Operand& operand, bool (*allowed)(DType), const char* expected) {
  if (operand && !allowed(operand.type->dtype)) reject_dtype(operand.type->dtype, expected);
}

void require_one_dtype(Operands operands) {
  for (const Operand& operand : operands) {
    if (operand && operand.type->dtype != operands[0].type->dtype) {
      throw Error(ErrorKind::kInput, "operands are " + to_string(*operands[0].type) + " and " +
                                         to_string(*operand.type) +
                                         ", but must have one element type");
    }
  }
}

std::vector<TensorType> infer_like_first(const Node&, Operands operands) {
  return {*operands[0].type};
}

std::vector<TensorType> infer_broadcast(const Node&, Operands operands) {
  require_one_dtype(operands);
  return {{operands[0].type->dtype, broadcast_shape(operands)}};
}

std::vector<TensorType> infer_comparison(const Node&, Operands operands) {
  require_one_dtype(operands);
  return {{DType::kBool, broadcast_shape(operands)}};
}

void tie_like_first(const Graph& graph, const Node& node, ChannelSlots& slots) {
  const ValueId x = node.inputs[0], y = node.outputs[0];
  for (int axis = 0; axis < static_cast<int>(graph.shape(x).size()); ++axis)
    slots.tie({x, axis}, {y, axis});
  for (size_t i = 1; i < node.inputs.size(); ++i) slots.fix_rest(node.inputs[i]);
}

uint64_t one_per_output(const Node&, Operands, std::span<const TensorType> outputs) {
  return elements(outputs[0]);
}

uint64_t one_per_input(const Node&, Operands operands, std::span<const TensorType>) {
  return elements(*operands[0].type);
}

}  // namespace pare
