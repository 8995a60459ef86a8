// ONNX Where: y = condition ? a : b, all three broadcasting to each other.
// https://onnx.ai/onnx/operators/onnx__Where.html

#include "ops/elementwise.h"
#include "ops/rows.h"

namespace pare {
namespace {

std::vector<TensorType> infer(const Node&, Operands in) {
  require_dtype(
      in[0], [](DType t) { return t == DType::kBool; }, "bool as condition");
  require_one_dtype(in.subspan(1));
  return {{in[1].type->dtype, broadcast_shape(in)}};
}

/// Calls `choose(to, from, second)` for each element: it is element `from` of `a`, or of `b` where
/// `second`.
template <typename Choose>
void walk(std::span<const Tensor* const> in, const Shape& shape, Choose choose) {
  const std::array<const Shape*, 3> shapes = {&in[0]->shape(), &in[1]->shape(), &in[2]->shape()};
  const BroadcastPlan plan = plan_broadcast(shapes, shape);
  const bool* condition = in[0]->data<bool>().data();
  for_each_row<3>(plan, [&](int64_t first, const std::array<int64_t, 3>& offsets) {
    for (int64_t i = 0; i < plan.row; ++i) {
      const bool first_one = condition[offsets[0] + (plan.moves[0] ? i : 0)];
      const size_t k = first_one ? 1 : 2;
      choose(static_cast<size_t>(first + i),
             static_cast<size_t>(offsets[k] + (plan.moves[k] ? i : 0)), !first_one);
    }
  });
}

std::vector<Tensor> eval(const Node& node, std::span<const Tensor* const> in) {
  const TensorType type = infer(node, as_operands(in))[0];
  if (type.dtype == DType::kString) {
    std::vector<std::string> strings(static_cast<size_t>(element_count(type.shape)));
    walk(in, type.shape, [&](size_t to, size_t from, bool second) {
      strings[to] = in[second ? 2 : 1]->strings()[from];
    });
    return {Tensor::of_strings(type.shape, std::move(strings))};
  }
  Tensor y = Tensor::uninitialized(type.dtype, type.shape);
  visit_dtype(type.dtype, [&]<typename T>() {
    const T* a = in[1]->data<T>().data();
    const T* b = in[2]->data<T>().data();
    T* to = y.mutable_data<T>().data();
    walk(in, type.shape,
         [=](size_t i, size_t from, bool second) { to[i] = second ? b[from] : a[from]; });
  });
  return {std::move(y)};
}

}  // namespace

constinit const OpDef kWhere = {.name = "Where",
                                .min_inputs = 3,
                                .max_inputs = 3,
                                .infer = infer,
                                .tie = tie_broadcast,
                                .channels = kBroadcastChannels,
                                .other_ops = one_per_output,
                                .eval = eval,
                                .native_half = true};

}  // namespace pare
