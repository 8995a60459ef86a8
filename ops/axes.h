#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "ir/graph.h"

namespace pare {

/// `axis` as an index into a shape of `rank` extents; negative ones count from the back. Throws
/// Error(kInput) outside [-rank, rank). For an axis to insert before, pass rank + 1.
size_t normalize_axis(int64_t axis, size_t rank);

/// The same for each of `axes`, in their order. Throws Error(kInput) when one is named twice.
std::vector<size_t> normalize_axes(std::span<const int64_t> axes, size_t rank);

/// Attribute `axis` normalized.
size_t axis_attribute(const Node& node, int64_t fallback, size_t rank);

/// A list of integers that a node has as an attribute in older opsets, as an operand in newer ones.
struct IntList {
  bool given = false;  ///< Is there at all, as one or the other.
  bool known =
      false;  ///< `values` holds it; false while inferring from an operand that is computed.
  std::vector<int64_t> values;
};

/// Reads attribute `name` where the node has it, else operand `slot`. An empty name or a `slot`
/// that no node has leaves one of the two out.
IntList int_list(const Node& node, std::string_view name, Operands in, size_t slot);
IntList int_list(const Node& node, std::string_view name, std::span<const Tensor* const> in,
                 size_t slot);
/// The same for graph rewriting rules, which hold no operands.
IntList int_list(const Graph& graph, const Node& node, std::string_view name, size_t slot);

/// The one integer of operand `slot`. Throws Error(kInput) when it is no single integer.
int64_t int_operand(std::span<const Tensor* const> in, size_t slot);

/// Operand `slot` while evaluating, null where it is left out.
inline const Tensor* operand_or_null(std::span<const Tensor* const> in, size_t slot) {
  return slot < in.size() ? in[slot] : nullptr;
}

/// Product of the extents of axes [first, last). Throws Error(kInput) where it overflows.
int64_t extent_product(const Shape& shape, size_t first, size_t last);

/// Axis `axis` of `value` as channel slots name it.
struct Dim;
Dim dim_of(ValueId value, size_t axis);

}  // namespace pare
