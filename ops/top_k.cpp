// ONNX TopK: k as an attribute (to opset 9) or an operand.
// https://onnx.ai/onnx/operators/onnx__TopK.html

#include <algorithm>
#include <cmath>
#include <numeric>

#include "ir/channel_slots.h"
#include "ops/axes.h"
#include "ops/rewrite.h"

namespace pare {
namespace {

/// k, checked against the extent it selects from.
int64_t checked_count(const std::vector<int64_t>& k, int64_t extent) {
  if (k.size() != 1 || k[0] < 0 || k[0] > extent) {
    throw Error(ErrorKind::kInput, "k " + to_string(k) + " does not select from an extent of " +
                                       std::to_string(extent));
  }
  return k[0];
}

std::vector<TensorType> infer(const Node& node, Operands in) {
  TensorType type = *in[0].type;
  const size_t axis = axis_attribute(node, -1, type.shape.size());
  const IntList k = int_list(node, "k", in, 1);
  if (!k.given) throw Error(ErrorKind::kInput, "has no k");
  type.shape[axis] = k.known ? checked_count(k.values, type.shape[axis]) : -1;
  return {type, {DType::kI64, type.shape}};
}

void tie(const Graph& graph, const Node& node, ChannelSlots& slots) {
  const ValueId x = node.inputs[0];
  const size_t rank = graph.shape(x).size(), axis = axis_attribute(node, -1, rank);
  if (slots.reducing_classes()) slots.free(dim_of(x, axis));
  for (ValueId y : node.outputs) {
    for (size_t a = 0; y != kNoValue && a < rank; ++a) {
      if (a != axis) slots.tie(dim_of(x, a), dim_of(y, a));
    }
  }
  for (ValueId value : node.inputs) slots.fix_rest(value);
  for (ValueId value : node.outputs) slots.fix_rest(value);
}

/// Where `a` goes before `b`: the larger first, NaN before numbers, equals by index.
template <typename T>
bool precedes(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) {
    if (std::isnan(a)) return !std::isnan(b);
  }
  return a > b;
}

template <typename T>
void select(const T* x, int64_t extent, int64_t stride, int64_t k, bool largest, T* values,
            int64_t* indices) {
  std::vector<int64_t> order(static_cast<size_t>(extent));
  std::iota(order.begin(), order.end(), int64_t{0});
  const auto before = [&](int64_t i, int64_t j) {
    const T a = x[i * stride], b = x[j * stride];
    if (largest ? precedes(a, b) : precedes(b, a)) return true;
    if (largest ? precedes(b, a) : precedes(a, b)) return false;
    return i < j;
  };
  std::partial_sort(order.begin(), order.begin() + k, order.end(), before);
  for (int64_t i = 0; i < k; ++i) {
    const int64_t index = order[static_cast<size_t>(i)];
    values[i * stride] = x[index * stride];
    indices[i * stride] = index;
  }
}

template <typename T>
void select_all(const Tensor& x, size_t axis, int64_t k, bool largest, Tensor& values,
                Tensor& indices) {
  const Shape& shape = x.shape();
  const int64_t extent = shape[axis], inner = extent_product(shape, axis + 1, shape.size());
  const T* from = x.data<T>().data();
  T* value = values.mutable_data<T>().data();
  int64_t* index = indices.mutable_data<int64_t>().data();
  for (int64_t outer = extent_product(shape, 0, axis); outer > 0; --outer) {
    for (int64_t i = 0; i < inner; ++i)
      select(from + i, extent, inner, k, largest, value + i, index + i);
    from += extent * inner, value += k * inner, index += k * inner;
  }
}

std::vector<Tensor> eval(const Node& node, std::span<const Tensor* const> in) {
  const Tensor& x = *in[0];
  Shape shape = x.shape();
  const size_t axis = axis_attribute(node, -1, shape.size());
  const int64_t k = checked_count(int_list(node, "k", in, 1).values, shape[axis]);
  const bool largest = node.attribute<int64_t>("largest", 1) != 0;
  shape[axis] = k;
  Tensor values = Tensor::uninitialized(x.dtype(), shape), indices(DType::kI64, shape);
  visit_dtype(x.dtype(), [&]<typename T>() {
    if constexpr (std::is_arithmetic_v<T>) {
      select_all<T>(x, axis, k, largest, values, indices);
    } else {
      throw Error(ErrorKind::kUnsupported, "half floats are ordered as floats");
    }
  });
  return {std::move(values), std::move(indices)};
}

/// One comparison an element, as when few are selected.
uint64_t other_ops(const Node&, Operands in, std::span<const TensorType>) {
  return static_cast<uint64_t>(element_count(in[0].shape()));
}

void upgrade(Graph& graph, NodeId id, int64_t) { attribute_to_operand(graph, id, "k", 1); }

}  // namespace

extern const OpDef kTopK;
constinit const OpDef kTopK = {.name = "TopK",
                               .max_inputs = 2,
                               .infer = infer,
                               .tie = tie,
                               .channels = "the sorted axis stays; others pass through",
                               .other_ops = other_ops,
                               .eval = eval,
                               .upgrade = upgrade};

}  // namespace pare
