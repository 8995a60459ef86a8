#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ir/graph.h"

namespace pare {

/// The axis of GatherElements and ScatterElements. Throws Error(kInput) unless `indices` has the
/// rank of `data` and is no longer than it on the other axes.
size_t element_axis(const Node& node, const Shape& data, const Shape& indices);

/// For each element of `indices` the offset of the element of `data` it means: its own position
/// with the coordinate of `axis` replaced by the index.
std::vector<int64_t> element_offsets(const Shape& data, const Tensor& indices, size_t axis);

/// Coordinates in each index tuple of GatherND and ScatterND: the last extent of `indices`. Throws
/// Error(kInput) when it is more than `rank`.
size_t index_depth(const Shape& indices, size_t rank);

/// Offset of the first element of the slice of a tensor of `shape` that `tuple`, the leading
/// coordinates, names. Negative ones count from the back.
int64_t tuple_offset(const Shape& shape, std::span<const int64_t> tuple);

}  // namespace pare
