// ONNX ArgMax and ArgMin: the index of the largest (smallest) element along an axis.
// https://onnx.ai/onnx/operators/onnx__ArgMax.html

#include "ir/channel_slots.h"
#include "ops/axes.h"
#include "ops/elementwise.h"
#include "ops/rows.h"

namespace pare {
namespace {

using Tensors = std::span<const Tensor* const>;

bool keeps_dims(const Node& node) { return node.attribute<int64_t>("keepdims", 1) != 0; }

std::vector<TensorType> infer(const Node& node, Operands in) {
  require_dtype(
      in[0], [](DType t) { return is_float(t) || is_integer(t); }, "numbers");
  Shape y = in[0].shape();
  const size_t axis = axis_attribute(node, 0, y.size());
  if (y[axis] == 0)
    throw Error(ErrorKind::kInput, "axis " + std::to_string(axis) + " of " + to_string(y) +
                                       " is empty, so no element is the largest or smallest");
  if (keeps_dims(node)) {
    y[axis] = 1;
  } else {
    y.erase(y.begin() + static_cast<ptrdiff_t>(axis));
  }
  return {{DType::kI64, y}};
}

/// The axis is fixed, for indices would be renumbered; that is just what a class reduction wants.
void tie(const Graph& graph, const Node& node, ChannelSlots& slots) {
  const ValueId x = node.inputs[0], y = node.outputs[0];
  const size_t rank = graph.shape(x).size(), reduced = axis_attribute(node, 0, rank);
  for (size_t axis = 0, to = 0; axis < rank; ++axis) {
    if (axis != reduced) {
      slots.tie(dim_of(x, axis), dim_of(y, to++));
    } else {
      if (slots.reducing_classes()) slots.free(dim_of(x, axis));
      if (keeps_dims(node)) slots.fix(dim_of(y, to++));
    }
  }
  slots.fix_rest(x);
}

/// The index of the best element of a column, the last of equals if asked for; a NaN is best of
/// all, as in numpy.
template <typename T, typename Better>
int64_t best(const T* column, int64_t count, int64_t stride, bool last, Better better) {
  int64_t best = 0;
  for (int64_t i = 1; i < count; ++i) {
    const T challenger = column[i * stride], holder = column[best * stride];
    const bool holder_is_nan = holder != holder, challenger_is_nan = challenger != challenger;
    const bool tied = challenger == holder || (holder_is_nan && challenger_is_nan);
    if (tied ? last : !holder_is_nan && (challenger_is_nan || better(challenger, holder))) best = i;
  }
  return best;
}

template <typename Better>
std::vector<Tensor> eval(const Node& node, Tensors in) {
  const TensorType type = infer(node, as_operands(in))[0];
  const Shape& shape = in[0]->shape();
  const size_t axis = axis_attribute(node, 0, shape.size());
  const int64_t outer = extent_product(shape, 0, axis), count = shape[axis];
  const int64_t inner = extent_product(shape, axis + 1, shape.size());
  const bool last = node.attribute<int64_t>("select_last_index", 0) != 0;
  Tensor y = Tensor::uninitialized(type.dtype, type.shape);
  int64_t* to = y.mutable_data<int64_t>().data();
  visit_number(in[0]->dtype(), [&]<typename T>() {
    const T* x = in[0]->data<T>().data();
    for (int64_t o = 0; o < outer; ++o) {
      for (int64_t i = 0; i < inner; ++i)
        *to++ = best(x + o * count * inner + i, count, inner, last, Better());
    }
  });
  return {std::move(y)};
}

constexpr OpDef row(std::string_view name, std::vector<Tensor> (*eval)(const Node&, Tensors)) {
  return {.name = name,
          .infer = infer,
          .tie = tie,
          .channels =
              "the searched axis stays, for its indices would be renumbered; others pass through",
          .other_ops = one_per_input,
          .eval = eval};
}

}  // namespace

constinit const OpDef kArgMax = row("ArgMax", eval<std::greater<>>);
constinit const OpDef kArgMin = row("ArgMin", eval<std::less<>>);

}  // namespace pare
