// ONNX MatMul, which is numpy.matmul. https://onnx.ai/onnx/operators/onnx__MatMul.html
//
//   A [batch..., M, K]   B [batch'..., K, N]   ->   Y [broadcast batch..., M, N]
//
// A vector A is [1, K] and a vector B [K, 1]; Y then lacks that axis.

#include "ir/channel_slots.h"
#include "ops/axes.h"
#include "ops/elementwise.h"
#include "ops/plain_gemm.h"
#include "ops/rows.h"

namespace pare {
namespace {

bool is_matmul_dtype(DType dtype) {
  return is_float(dtype) || dtype == DType::kI32 || dtype == DType::kI64 || dtype == DType::kU32 ||
         dtype == DType::kU64;
}

/// Both operands as matrices, batch axes apart.
struct Geometry {
  int64_t m, k, n;
  Shape batch_a, batch_b, batch;
  bool vector_a, vector_b;

  Shape output() const {
    Shape y = batch;
    if (!vector_a) y.push_back(m);
    if (!vector_b) y.push_back(n);
    return y;
  }
};

Geometry geometry(const Shape& a, const Shape& b) {
  if (a.empty() || b.empty())
    throw Error(ErrorKind::kInput,
                "A is " + to_string(a) + " and B " + to_string(b) + ", expected no scalar");
  Geometry g{};
  g.vector_a = a.size() == 1, g.vector_b = b.size() == 1;
  g.m = g.vector_a ? 1 : a[a.size() - 2];
  g.k = a.back();
  g.n = g.vector_b ? 1 : b.back();
  if ((g.vector_b ? b.back() : b[b.size() - 2]) != g.k)
    throw Error(ErrorKind::kInput,
                "inner extents differ: A is " + to_string(a) + ", B is " + to_string(b));
  if (!g.vector_a) g.batch_a.assign(a.begin(), a.end() - 2);
  if (!g.vector_b) g.batch_b.assign(b.begin(), b.end() - 2);
  g.batch = broadcast_shape(g.batch_a, g.batch_b);
  return g;
}

std::vector<TensorType> infer(const Node&, Operands in) {
  require_dtype(in[0], is_matmul_dtype, "floats or 32- and 64-bit integers");
  require_one_dtype(in);
  return {{in[0].type->dtype, geometry(in[0].shape(), in[1].shape()).output()}};
}

/// Ties the first `axes.size()` axes of an operand to the last of Y's `rank` batch axes.
void tie_batch(ChannelSlots& slots, ValueId operand, const Shape& axes, ValueId y, size_t rank) {
  for (size_t i = 0; i < axes.size(); ++i) {
    const Dim from = dim_of(operand, i), to = dim_of(y, rank - axes.size() + i);
    if (slots.extent(from) == slots.extent(to)) {
      slots.tie(from, to);
    } else {
      slots.fix(from);  // One slice that repeats.
    }
  }
}

/// Also where both operands are computed (attention): the contracted axes go together.
void tie(const Graph& graph, const Node& node, ChannelSlots& slots) {
  const ValueId a = node.inputs[0], b = node.inputs[1], y = node.outputs[0];
  const size_t rank_a = graph.shape(a).size(), rank_b = graph.shape(b).size(),
               rank_y = graph.shape(y).size();
  const Geometry g = geometry(graph.shape(a), graph.shape(b));
  slots.tie(dim_of(a, rank_a - 1), dim_of(b, g.vector_b ? 0 : rank_b - 2));
  if (!g.vector_a) slots.tie(dim_of(a, rank_a - 2), dim_of(y, g.batch.size()));
  if (!g.vector_b) slots.tie(dim_of(b, rank_b - 1), dim_of(y, rank_y - 1));
  tie_batch(slots, a, g.batch_a, y, g.batch.size());
  tie_batch(slots, b, g.batch_b, y, g.batch.size());
}

uint64_t macs(const Node&, Operands in, std::span<const TensorType> out) {
  return static_cast<uint64_t>(element_count(out[0].shape) * in[0].shape().back());
}

template <typename T>
void multiply(Geometry g, const T* a, const T* b, T* y) {
  if (g.k == 0) {
    std::fill_n(y, element_count(g.output()), T{0});
    return;
  }
  if (element_count(g.batch_b) == 1) {  // One B for all: the batch only makes A taller.
    g.m *= element_count(g.batch);
    g.batch_a = g.batch_b = g.batch = {};
  }
  if (g.m == 0 || g.n == 0) return;
  const std::array<const Shape*, 2> shapes = {&g.batch_a, &g.batch_b};
  const BroadcastPlan plan = plan_broadcast(shapes, g.batch);
  for_each_row<2>(plan, [&](int64_t first, const std::array<int64_t, 2>& offsets) {
    for (int64_t i = 0; i < plan.row; ++i) {
      gemm(Transpose::kNo, Transpose::kNo, g.m, g.n, g.k,
           a + (offsets[0] + (plan.moves[0] ? i : 0)) * g.m * g.k, g.k,
           b + (offsets[1] + (plan.moves[1] ? i : 0)) * g.k * g.n, g.n, T{0},
           y + (first + i) * g.m * g.n, g.n);
    }
  });
}

std::vector<Tensor> eval(const Node& node, std::span<const Tensor* const> in) {
  Tensor y = Tensor::uninitialized(in[0]->dtype(), infer(node, as_operands(in))[0].shape);
  const Geometry g = geometry(in[0]->shape(), in[1]->shape());
  visit_number(y.dtype(), [&]<typename T>() {
    multiply(g, in[0]->data<T>().data(), in[1]->data<T>().data(), y.mutable_data<T>().data());
  });
  return {std::move(y)};
}

}  // namespace

constinit const OpDef kMatMul = {
    .name = "MatMul",
    .min_inputs = 2,
    .max_inputs = 2,
    .infer = infer,
    .tie = tie,
    .channels =
        "the contracted axes of both operands go together, the others with the output's; also "
        "where both operands are computed (attention)",
    .macs = macs,
    .eval = eval,
    .quant = Quant::kWeighted,
};

}  // namespace pare
