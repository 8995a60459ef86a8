#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "ops/broadcast.h"
#include "ops/visit.h"

namespace pare {

// What operators that work element by element have in common.

/// Operands as `infer` sees them, for an `eval` that lets `infer` check shapes and size the output.
std::vector<Operand> as_operands(std::span<const Tensor* const> tensors);

/// Throws Error(kInput) unless `allowed(dtype)`, naming `expected` ("floats").
void require_dtype(const Operand& operand, bool (*allowed)(DType), const char* expected);
/// Throws Error(kInput) unless all operands that are present have one element type.
void require_one_dtype(Operands operands);

/// Output has the type of the first operand; the others are parameters of other shapes.
std::vector<TensorType> infer_like_first(const Node& node, Operands operands);
/// Output has the broadcast shape and the one element type of all operands.
std::vector<TensorType> infer_broadcast(const Node& node, Operands operands);
/// The same with a bool result.
std::vector<TensorType> infer_comparison(const Node& node, Operands operands);

/// Every axis of the first operand and the first output live together, index by index; further
/// operands (parameters of the op) are left as they are.
void tie_like_first(const Graph& graph, const Node& node, ChannelSlots& slots);
inline constexpr std::string_view kLikeFirstChannels = "every index passes through";

/// One operation for each element of the first output; 0 where its shape is not known.
uint64_t one_per_output(const Node& node, Operands operands, std::span<const TensorType> outputs);
/// One operation for each element of the first operand.
uint64_t one_per_input(const Node& node, Operands operands, std::span<const TensorType> outputs);

/// y[i] = f(x[i]) over a new tensor of X's shape.
template <typename X, typename Y, typename F>
Tensor map_elements(const Tensor& x, F f) {
  Tensor y = Tensor::uninitialized(dtype_of<Y>(), x.shape());
  const X* from = x.data<X>().data();
  Y* to = y.mutable_data<Y>().data();
  const int64_t count = x.size();
  for (int64_t i = 0; i < count; ++i) to[i] = f(from[i]);
  return y;
}

}  // namespace pare
