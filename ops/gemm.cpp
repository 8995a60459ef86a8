// ONNX Gemm. https://onnx.ai/onnx/operators/onnx__Gemm.html
//
//   A [M, K] or, with transA, [K, M]   B [K, N] or, with transB, [N, K]   C broadcasts into [M, N]
//   Y [M, N] = alpha A' B' + beta C

#include <cmath>

#include "ir/channel_slots.h"
#include "ops/elementwise.h"
#include "ops/plain_gemm.h"
#include "ops/rows.h"

namespace pare {
namespace {

/// Which axis of A and B is which.
struct Axes {
  int a_m, a_k, b_k, b_n;
};

Axes axes_of(const Node& node) {
  const int a = node.attribute<int64_t>("transA", 0) != 0 ? 1 : 0;
  const int b = node.attribute<int64_t>("transB", 0) != 0 ? 1 : 0;
  return {a, 1 - a, b, 1 - b};
}

bool is_gemm_dtype(DType dtype) {
  return is_float(dtype) || dtype == DType::kI32 || dtype == DType::kI64 || dtype == DType::kU32 ||
         dtype == DType::kU64;
}

int64_t extent(const Operand& operand, int axis) {
  return operand.shape()[static_cast<size_t>(axis)];
}

std::vector<TensorType> infer(const Node& node, Operands in) {
  require_dtype(in[0], is_gemm_dtype, "floats or 32- and 64-bit integers");
  require_one_dtype(in);
  const Shape &a = in[0].shape(), &b = in[1].shape();
  if (a.size() != 2 || b.size() != 2)
    throw Error(ErrorKind::kInput,
                "A is " + to_string(a) + " and B " + to_string(b) + ", expected two matrices");
  const Axes axes = axes_of(node);
  if (extent(in[0], axes.a_k) != extent(in[1], axes.b_k))
    throw Error(ErrorKind::kInput, "inner extents differ: A is " + to_string(a) +
                                       (axes.a_m ? " transposed" : "") + ", B is " + to_string(b) +
                                       (axes.b_k ? " transposed" : ""));
  const Shape y{extent(in[0], axes.a_m), extent(in[1], axes.b_n)};
  if (in.size() > 2 && in[2] && broadcast_shape(in[2].shape(), y) != y)
    throw Error(ErrorKind::kInput, "C is " + to_string(in[2].shape()) +
                                       ", which does not broadcast into " + to_string(y));
  return {{in[0].type->dtype, y}};
}

void tie(const Graph&, const Node& node, ChannelSlots& slots) {
  const ValueId a = node.inputs[0], b = node.inputs[1], y = node.outputs[0];
  const Axes axes = axes_of(node);
  slots.tie({a, axes.a_m}, {y, 0});
  slots.tie({a, axes.a_k}, {b, axes.b_k});
  slots.tie({b, axes.b_n}, {y, 1});
  if (node.has_input(2)) tie_broadcast(slots, node.inputs[2], y);
}

uint64_t macs(const Node& node, Operands in, std::span<const TensorType> out) {
  return static_cast<uint64_t>(element_count(out[0].shape) * extent(in[0], axes_of(node).a_k));
}

/// Adding C: one addition per output element.
uint64_t other_ops(const Node& node, Operands in, std::span<const TensorType> out) {
  return in.size() > 2 && in[2] ? one_per_output(node, in, out) : 0;
}

/// `tensor` times an attribute; integers take whole factors only.
template <typename T>
Tensor scaled(const Tensor& tensor, float factor) {
  if (factor == 1.0f) return tensor;
  if (std::is_integral_v<T> && (std::floor(factor) != factor || std::abs(factor) > 1e6f))
    throw Error(ErrorKind::kUnsupported,
                "integers are scaled by " + std::to_string(factor) + ", expected a whole number");
  const auto f = static_cast<T>(
      static_cast<std::conditional_t<std::is_integral_v<T>, int64_t, float>>(factor));
  return map_elements<T, T>(tensor, [f](T x) { return static_cast<T>(x * f); });
}

template <typename T>
Tensor multiply(const Node& node, std::span<const Tensor* const> in, const Shape& shape) {
  const Tensor a = scaled<T>(*in[0], node.attribute("alpha", 1.0f));
  const Tensor* c = in.size() > 2 ? in[2] : nullptr;
  Tensor y = c ? broadcast_to(scaled<T>(*c, node.attribute("beta", 1.0f)), shape)
               : Tensor::uninitialized(dtype_of<T>(), shape);
  const Axes axes = axes_of(node);
  const int64_t k = a.shape()[static_cast<size_t>(axes.a_k)];
  T* to = y.mutable_data<T>().data();
  if (k == 0) {
    if (!c) std::fill_n(to, y.size(), T{0});
  } else if (y.size() > 0) {
    gemm(axes.a_m ? Transpose::kYes : Transpose::kNo, axes.b_k ? Transpose::kYes : Transpose::kNo,
         shape[0], shape[1], k, a.data<T>().data(), a.shape()[1], in[1]->data<T>().data(),
         in[1]->shape()[1], c ? T{1} : T{0}, to, shape[1]);
  }
  return y;
}

std::vector<Tensor> eval(const Node& node, std::span<const Tensor* const> in) {
  const Shape shape = infer(node, as_operands(in))[0].shape;
  return {visit_number(in[0]->dtype(), [&]<typename T>() { return multiply<T>(node, in, shape); })};
}

/// Opsets before 7 ask for broadcasting; from 7 on it goes without saying.
void upgrade(Graph& graph, NodeId id, int64_t) { graph.remove_attribute(id, "broadcast"); }

}  // namespace

constinit const OpDef kGemm = {
    .name = "Gemm",
    .min_inputs = 2,
    .max_inputs = 3,
    .infer = infer,
    .tie = tie,
    .channels =
        "an input channel goes with its row of weights, an output channel with its column and bias",
    .macs = macs,
    .other_ops = other_ops,
    .eval = eval,
    .quant = Quant::kWeighted,
    .upgrade = upgrade,
};

}  // namespace pare
