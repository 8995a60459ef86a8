// Activations, element by element.

#include <algorithm>

#include "ir/graph.h"

namespace pare {
namespace {

std::vector<TensorType> infer(const Node&, Operands in) { return {*in[0].type}; }

std::vector<Tensor> eval(const Node&, std::span<const Tensor* const> in) {
  Tensor y = *in[0];
  for (float& x : y.mutable_data<float>()) x = std::max(x, 0.0f);
  return {std::move(y)};
}

}  // namespace

extern const OpDef kRelu;
constinit const OpDef kRelu = {
    .name = "Relu", .infer = infer, .eval = eval, .quant = Quant::kActivation};

}  // namespace pare
