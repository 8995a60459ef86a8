#include "ops/broadcast.h"

#include <algorithm>
#include <cstring>

#include "ir/channel_slots.h"

namespace pare {
namespace {

/// Extent of `shape` at an axis counted from the last one; 1 in front of the first.
int64_t extent_from_back(const Shape& shape, size_t axis) {
  return axis < shape.size() ? shape[shape.size() - 1 - axis] : 1;
}

/// True when operands move over axis `outer` right before `inner` as if the two were one axis.
bool mergeable(const std::vector<std::vector<int64_t>>& strides, size_t outer, size_t inner,
               int64_t inner_extent) {
  return std::ranges::all_of(strides,
                             [&](const auto& s) { return s[outer] == s[inner] * inner_extent; });
}

}  // namespace

Shape broadcast_shape(const Shape& a, const Shape& b) {
  Shape out(std::max(a.size(), b.size()));
  for (size_t axis = 0; axis < out.size(); ++axis) {
    const int64_t extent_a = extent_from_back(a, axis), extent_b = extent_from_back(b, axis);
    if (extent_a != extent_b && extent_a != 1 && extent_b != 1) {
      throw Error(ErrorKind::kInput, "shapes " + to_string(a) + " and " + to_string(b) +
                                         " do not broadcast, for " + std::to_string(extent_a) +
                                         " meets " + std::to_string(extent_b) +
                                         " where equal extents or a 1 are needed");
    }
    out[out.size() - 1 - axis] = extent_a == 1 ? extent_b : extent_a;
  }
  return out;
}

Shape broadcast_shape(Operands operands) {
  Shape out;
  for (const Operand& operand : operands) {
    if (operand) out = broadcast_shape(out, operand.shape());
  }
  return out;
}

std::vector<int64_t> broadcast_strides(const Shape& shape, const Shape& out) {
  std::vector<int64_t> strides(out.size(), 0);
  int64_t stride = 1;
  bool fits = shape.size() <= out.size();
  for (size_t axis = 0; fits && axis < shape.size(); ++axis) {
    const int64_t extent = extent_from_back(shape, axis);
    fits = extent == 1 || extent == extent_from_back(out, axis);
    if (extent != 1) strides[out.size() - 1 - axis] = stride;
    stride *= extent;
  }
  if (!fits) {
    throw Error(ErrorKind::kInput,
                "shape " + to_string(shape) + " does not broadcast to " + to_string(out));
  }
  return strides;
}

BroadcastPlan plan_broadcast(std::span<const Shape* const> operands, const Shape& out) {
  std::vector<std::vector<int64_t>> strides;
  for (const Shape* shape : operands) strides.push_back(broadcast_strides(*shape, out));

  BroadcastPlan plan;
  plan.extents = {1};  // The row, merged from the last axes; the loops around it follow, innermost
  plan.strides.assign(operands.size(), {0});  // first, and are turned round at the end.
  std::vector<std::vector<int64_t>> pair(operands.size(), {0, 0});
  for (size_t axis = out.size(); axis-- > 0;) {
    if (out[axis] == 1) continue;
    for (size_t k = 0; k < operands.size(); ++k)
      pair[k] = {strides[k][axis], plan.strides[k].back()};
    const bool first = plan.extents.size() == 1 && plan.extents.back() == 1;
    if (first || mergeable(pair, 0, 1, plan.extents.back())) {
      plan.extents.back() *= out[axis];
      if (first) {
        for (size_t k = 0; k < operands.size(); ++k) plan.strides[k].back() = strides[k][axis];
      }
    } else {
      plan.extents.push_back(out[axis]);
      for (size_t k = 0; k < operands.size(); ++k) plan.strides[k].push_back(strides[k][axis]);
    }
  }
  plan.row = plan.extents.front();
  plan.extents.erase(plan.extents.begin());
  std::ranges::reverse(plan.extents);
  for (std::vector<int64_t>& s : plan.strides) {
    plan.moves.push_back(s.front() != 0);
    s.erase(s.begin());
    std::ranges::reverse(s);
  }
  return plan;
}

Tensor broadcast_to(const Tensor& tensor, const Shape& out) {
  if (tensor.shape() == out) return tensor;
  const std::array<const Shape*, 1> shapes = {&tensor.shape()};
  const BroadcastPlan plan = plan_broadcast(shapes, out);
  if (tensor.dtype() == DType::kString) {
    std::vector<std::string> strings(static_cast<size_t>(element_count(out)));
    for_each_row<1>(plan, [&](int64_t first, const std::array<int64_t, 1>& offsets) {
      for (int64_t i = 0; i < plan.row; ++i) {
        strings[static_cast<size_t>(first + i)] =
            tensor.strings()[static_cast<size_t>(offsets[0] + (plan.moves[0] ? i : 0))];
      }
    });
    return Tensor::of_strings(out, std::move(strings));
  }
  Tensor result = Tensor::uninitialized(tensor.dtype(), out);
  const size_t size = element_size(tensor.dtype());
  const std::byte* from = tensor.bytes().data();
  std::byte* to = result.mutable_bytes().data();
  for_each_row<1>(plan, [&](int64_t first, const std::array<int64_t, 1>& offsets) {
    std::byte* row = to + static_cast<size_t>(first) * size;
    const std::byte* source = from + static_cast<size_t>(offsets[0]) * size;
    const size_t count = static_cast<size_t>(plan.row);
    if (plan.moves[0]) {
      std::memcpy(row, source, count * size);
    } else {
      for (size_t i = 0; i < count; ++i) std::memcpy(row + i * size, source, size);
    }
  });
  return result;
}

void tie_broadcast(ChannelSlots& slots, ValueId operand, ValueId output) {
  const Shape& from = slots.graph().shape(operand);
  const Shape& to = slots.graph().shape(output);
  const size_t missing = to.size() - from.size();
  for (size_t axis = 0; axis < from.size(); ++axis) {
    const Dim dim{operand, static_cast<int>(axis)};
    if (from[axis] == to[missing + axis]) {
      slots.tie(dim, {output, static_cast<int>(missing + axis)});
    } else {
      slots.fix(dim);
    }
  }
}

void tie_broadcast(const Graph&, const Node& node, ChannelSlots& slots) {
  for (ValueId operand : node.inputs) {
    if (operand != kNoValue) tie_broadcast(slots, operand, node.outputs[0]);
  }
}

}  // namespace pare
