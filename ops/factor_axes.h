#pragma once

#include <vector>

#include "ir/channel_slots.h"

namespace pare {

/// Axes of a tensor and of its reshaped form that hold the same elements: their extents have equal
/// products, and no smaller piece of either does. Axes of extent 1 are in no group.
struct AxisGroup {
  std::vector<size_t> in, out;
};

/// The groups of two shapes of the same, positive, element count, outermost first:
/// [8,6,4,4] -> [8,2,3,16] is {0}{0}, {1}{1,2}, {2,3}{3}.
std::vector<AxisGroup> factor_axes(const Shape& in, const Shape& out);

/// Ties `x` and `y`, two forms of the same elements in row-major order.
///
/// Axes that go over one to one are tied. Of axes that are merged or split at most one can shrink,
/// for removing an index of a merged axis removes one pair of indices: the one with most indices
/// that nothing has fixed yet is tied and the others are fixed. So [C,H,W] -> C*H*W goes by
/// channels where H and W are an image's, a channel shuffle and the heads of an attention go by the
/// index inside a group or head. Where several axes become several others that agree on none, as in
/// [H, W, anchors * classes] -> [H * W * anchors, classes], the innermost ones are tied if one is a
/// multiple of the other. Rules that use this should run last (OpDef::ties_last).
void tie_reshaped(const Graph& graph, ValueId x, ValueId y, ChannelSlots& slots);

}  // namespace pare
