#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "ir/channel_slots.h"

namespace pare {

/// A run of indices of an axis.
struct Part {
  int64_t offset = 0;
  int64_t extent = 0;
};

/// Extents of the parts a Concat made an axis of, in order; the walk goes back through what leaves
/// the axis as it is (activations, Transpose, a Concat along another axis). Empty where there is
/// none.
std::vector<int64_t> parts_of_axis(const Graph& graph, Dim dim);

/// The part of an axis that stands for classes beside box coordinates, 4 an anchor, and perhaps a
/// score of there being anything, one an anchor. Nothing where the axis is not made so.
std::optional<Part> part_beside_boxes(const Graph& graph, Dim dim);

/// The axis of `id` that a Softmax or LogSoftmax behind it runs along, through the same walk.
std::optional<int> softmax_axis(const Graph& graph, ValueId id);

/// A Transpose moved the channels of a feature map [N, C, H, W] to the end.
bool ends_channels_last(const Graph& graph, ValueId id);

}  // namespace pare
