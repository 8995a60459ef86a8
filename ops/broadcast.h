#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "ir/graph.h"
#include "ir/op.h"

namespace pare {

class ChannelSlots;

// Numpy broadcasting, as ONNX has it: shapes are aligned at their last axes, and an axis of extent
// 1 (or one that is missing in front) repeats.
// https://github.com/onnx/onnx/blob/main/docs/Broadcasting.md

/// The shape that operands of shapes `a` and `b` broadcast to. Throws Error(kInput) when they do
/// not.
Shape broadcast_shape(const Shape& a, const Shape& b);
/// The same over all operands that are present.
Shape broadcast_shape(Operands operands);

/// Element strides of a dense tensor of `shape` seen as `out`, one an axis of `out`: 0 where it
/// repeats. Throws Error(kInput) when `shape` does not broadcast to exactly `out`.
std::vector<int64_t> broadcast_strides(const Shape& shape, const Shape& out);

/// `tensor` with its elements repeated to fill `out`; any dtype.
Tensor broadcast_to(const Tensor& tensor, const Shape& out);

/// Ties the axes of `operand` to those of `output` they are aligned with. An axis that repeats is
/// fixed: its one slice stands for all. Every axis of `output` that some operand has in full is
/// spoken of once all operands are through.
void tie_broadcast(ChannelSlots& slots, ValueId operand, ValueId output);
/// The tie rule of an op whose operands all broadcast into its one output.
void tie_broadcast(const Graph& graph, const Node& node, ChannelSlots& slots);
inline constexpr std::string_view kBroadcastChannels =
    "an index goes in all operands that have it; an axis that is repeated stays";

/// How operands are walked to fill one output, in rows as long as the broadcasting allows.
///
/// Neighbouring axes that behave alike are merged, so two operands of one shape are one row, a
/// scalar against anything is one row, and [C,1,1] against [N,C,H,W] makes N*C rows of H*W. Along a
/// row an operand either moves element by element or stands still.
struct BroadcastPlan {
  int64_t row = 1;                            ///< Elements of a row.
  std::vector<bool> moves;                    ///< By operand: does it move along a row?
  std::vector<int64_t> extents;               ///< Loops around the row, outermost first.
  std::vector<std::vector<int64_t>> strides;  ///< By operand and loop.
};

BroadcastPlan plan_broadcast(std::span<const Shape* const> operands, const Shape& out);

/// Calls `body(first, offsets)` for each row: `first` is the row's first element in the output,
/// `offsets` those in the operands. Rows come in output order.
template <size_t N, typename Body>
void for_each_row(const BroadcastPlan& plan, Body&& body) {
  int64_t rows = 1;
  for (int64_t extent : plan.extents) rows *= extent;
  if (plan.row == 0) return;
  std::array<int64_t, N> offsets{};
  std::vector<int64_t> position(plan.extents.size(), 0);
  for (int64_t r = 0; r < rows; ++r) {
    body(r * plan.row, offsets);
    for (size_t axis = position.size(); axis-- > 0;) {
      for (size_t k = 0; k < N; ++k) offsets[k] += plan.strides[k][axis];
      if (++position[axis] < plan.extents[axis]) break;
      for (size_t k = 0; k < N; ++k) offsets[k] -= plan.strides[k][axis] * plan.extents[axis];
      position[axis] = 0;
    }
  }
}

/// y = f(a, b) element by element with broadcasting; `y` has the broadcast shape.
template <typename A, typename B, typename Y, typename F>
void broadcast_apply(const Tensor& a, const Tensor& b, Tensor& y, F f) {
  const std::array<const Shape*, 2> shapes = {&a.shape(), &b.shape()};
  const BroadcastPlan plan = plan_broadcast(shapes, y.shape());
  const A* a_data = a.data<A>().data();
  const B* b_data = b.data<B>().data();
  Y* y_data = y.mutable_data<Y>().data();
  const int64_t count = plan.row;
  for_each_row<2>(plan, [&](int64_t first, const std::array<int64_t, 2>& offsets) {
    const A* pa = a_data + offsets[0];
    const B* pb = b_data + offsets[1];
    Y* py = y_data + first;
    if (plan.moves[0] && plan.moves[1]) {
      for (int64_t i = 0; i < count; ++i) py[i] = f(pa[i], pb[i]);
    } else if (plan.moves[0]) {
      const B still = *pb;
      for (int64_t i = 0; i < count; ++i) py[i] = f(pa[i], still);
    } else {
      const A still = *pa;
      for (int64_t i = 0; i < count; ++i) py[i] = f(still, pb[plan.moves[1] ? i : 0]);
    }
  });
}

}  // namespace pare
