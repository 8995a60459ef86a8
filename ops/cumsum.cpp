// ONNX CumSum: running sums along an axis, that a scalar operand names.
// https://onnx.ai/onnx/operators/onnx__CumSum.html

#include "ir/channel_slots.h"
#include "ops/axes.h"
#include "ops/elementwise.h"
#include "ops/integer_math.h"
#include "ops/rows.h"

namespace pare {
namespace {

using Tensors = std::span<const Tensor* const>;

std::vector<TensorType> infer(const Node& node, Operands in) {
  require_dtype(
      in[0], [](DType t) { return is_float(t) || is_integer(t); }, "numbers");
  require_dtype(in[1], is_integer, "an integer as axis");
  return infer_like_first(node, in);
}

/// Sums mix the indices of their axis; the other axes pass through.
void tie(const Graph& graph, const Node& node, ChannelSlots& slots) {
  const ValueId x = node.inputs[0], y = node.outputs[0];
  const IntList axes = int_list(graph, node, "", 1);
  const size_t rank = graph.shape(x).size();
  if (axes.known && axes.values.size() == 1) {
    const size_t summed = normalize_axis(axes.values[0], rank);
    for (size_t axis = 0; axis < rank; ++axis) {
      if (axis != summed) slots.tie(dim_of(x, axis), dim_of(y, axis));
    }
  }
  for (ValueId value : {x, node.inputs[1], y}) slots.fix_rest(value);
}

std::vector<Tensor> eval(const Node& node, Tensors in) {
  (void)infer(node, as_operands(in));
  const Shape& shape = in[0]->shape();
  const size_t axis = normalize_axis(int_operand(in, 1), shape.size());
  const int64_t outer = extent_product(shape, 0, axis), count = shape[axis];
  const int64_t inner = extent_product(shape, axis + 1, shape.size());
  const bool exclusive = node.attribute<int64_t>("exclusive", 0) != 0;
  const bool reverse = node.attribute<int64_t>("reverse", 0) != 0;
  Tensor y = Tensor::uninitialized(in[0]->dtype(), shape);
  visit_number(y.dtype(), [&]<typename T>() {
    const T* x = in[0]->data<T>().data();
    T* to = y.mutable_data<T>().data();
    for (int64_t o = 0; o < outer; ++o) {
      for (int64_t i = 0; i < inner; ++i) {
        T sum{0};
        for (int64_t k = 0; k < count; ++k) {
          const int64_t at = (o * count + (reverse ? count - 1 - k : k)) * inner + i;
          const T before = sum;
          sum = wrap_add(sum, x[at]);
          to[at] = exclusive ? before : sum;
        }
      }
    }
  });
  return {std::move(y)};
}

}  // namespace

constinit const OpDef kCumSum = {.name = "CumSum",
                                 .min_inputs = 2,
                                 .max_inputs = 2,
                                 .infer = infer,
                                 .tie = tie,
                                 .channels = "the summed axis stays; others pass through",
                                 .other_ops = one_per_output,
                                 .eval = eval};

}  // namespace pare
