#include "ops/factor_axes.h"

#include <algorithm>

#include "ops/axes.h"

namespace pare {
namespace {

std::vector<size_t> long_axes(const Shape& shape) {
  std::vector<size_t> axes;
  for (size_t a = 0; a < shape.size(); ++a) {
    if (shape[a] != 1) axes.push_back(a);
  }
  return axes;
}

/// Ties one of the axes `parts` of `value` to axis `whole` of `other`, which is all of them merged.
void tie_part(const Shape& shape, ValueId value, const std::vector<size_t>& parts, Dim whole,
              bool prefer_last, ChannelSlots& slots) {
  size_t chosen = parts[0];
  int64_t best = -1;
  for (size_t axis : parts) {
    const int64_t free = slots.unfixed(dim_of(value, axis));
    if (free > best || (prefer_last && free == best)) chosen = axis, best = free;
  }
  int64_t inner = 1;
  for (size_t axis : parts) {
    if (axis > chosen) inner *= shape[axis];
  }
  slots.tie_strided(dim_of(value, chosen), whole, inner);
  for (size_t axis : parts) {
    if (axis != chosen) slots.fix(dim_of(value, axis));
  }
}

/// Ties the innermost axes of two forms that agree on no axis, where one is a multiple of the
/// other: in [H, W, anchors * classes] -> [H * W * anchors, classes] a class is every j with j %
/// classes the same. The axes around them, which mix, are left to be fixed.
void tie_last(Dim a, Dim b, ChannelSlots& slots) {
  const int64_t m = slots.extent(a), n = slots.extent(b);
  if (n % m == 0) {
    slots.tie_strided(a, b, 1);
  } else if (m % n == 0) {
    slots.tie_strided(b, a, 1);
  }
}

}  // namespace

std::vector<AxisGroup> factor_axes(const Shape& in, const Shape& out) {
  const std::vector<size_t> in_axes = long_axes(in), out_axes = long_axes(out);
  std::vector<AxisGroup> groups;
  size_t i = 0, o = 0;
  while (i < in_axes.size() && o < out_axes.size()) {
    AxisGroup group = {{in_axes[i]}, {out_axes[o]}};
    int64_t in_count = in[in_axes[i++]], out_count = out[out_axes[o++]];
    while (in_count != out_count) {
      std::vector<size_t>& side = in_count < out_count ? group.in : group.out;
      if (in_count < out_count) {
        PARE_CHECK(i < in_axes.size(), "shapes of another element count");
        side.push_back(in_axes[i]);
        in_count *= in[in_axes[i++]];
      } else {
        PARE_CHECK(o < out_axes.size(), "shapes of another element count");
        side.push_back(out_axes[o]);
        out_count *= out[out_axes[o++]];
      }
    }
    groups.push_back(std::move(group));
  }
  return groups;
}

void tie_reshaped(const Graph& graph, ValueId x, ValueId y, ChannelSlots& slots) {
  const Shape &in = graph.shape(x), &out = graph.shape(y);
  if (element_count(in) > 0) {
    for (const AxisGroup& group : factor_axes(in, out)) {
      if (group.out.size() == 1) {
        tie_part(in, x, group.in, dim_of(y, group.out[0]), false, slots);
      } else if (group.in.size() == 1) {
        tie_part(out, y, group.out, dim_of(x, group.in[0]), true, slots);
      } else {
        tie_last(dim_of(x, group.in.back()), dim_of(y, group.out.back()), slots);
      }
    }
  }
  slots.fix_rest(x), slots.fix_rest(y);
}

}  // namespace pare
