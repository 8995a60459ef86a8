#pragma once

#include <functional>

#include "ir/channel_slots.h"

namespace pare {

/// Removes every slot whose group `doomed` selects: slices constants, repairs attributes through
/// OpDef::resize, re-infers types, and says in Graph::cuts() what is left. Returns the number of
/// constant slices removed.
///
/// The only code that shrinks anything. `slots` must describe `graph` as it is (same revision); it
/// describes nothing any more afterwards. No pinned group may be doomed, so graph inputs and
/// outputs keep their shapes except for axes that were opened in ChannelSlots::analyze(). Throws
/// Error(kInternal) when an axis would lose its last index, or when a shape inferred afterwards is
/// not the one the surviving slots make up.
int64_t remove_slots(Graph& graph, const ChannelSlots& slots,
                     const std::function<bool(uint32_t group)>& doomed);

}  // namespace pare
