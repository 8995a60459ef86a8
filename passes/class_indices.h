#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "ir/channel_slots.h"

namespace pare {

/// A constant list by class that computed class indices look up (names, category numbers): axis
/// `axis` of operand 0 of `node`, of which `kept` stay.
struct ClassTable {
  NodeId node;
  int axis;
  std::vector<int64_t> kept;
};

/// Lowers the k of every TopK along an axis that loses classes to what is left there. Returns true
/// when any was. Throws Error(kUnsupported) for a k that is computed.
bool cap_top_k(Graph& graph, const ChannelSlots& slots,
               const std::function<bool(uint32_t group)>& doomed);

/// Follows the class indices that ArgMax, TopK and NonMaxSuppression compute.
///
/// They count among the kept classes once the others are gone, so what is looked up with them must
/// have lost the same classes: a tensor along its class axis does, a constant table does not yet
/// and is returned. Throws Error(kUnsupported) naming the node where an index is chosen over
/// classes and places at once, or where something else picks from an axis that loses classes.
std::vector<ClassTable> follow_class_indices(const Graph& graph, const ChannelSlots& slots,
                                             const std::function<bool(uint32_t group)>& doomed);

}  // namespace pare
