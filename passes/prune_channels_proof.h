#pragma once

#include <functional>
#include <vector>

#include "ir/channel_slots.h"

namespace pare {

/// True when every node can be run, so that outputs can be compared and weights fitted.
bool executable(const Graph& graph);

/// Fixed inputs for proofs where there is no data: numbers in [-1, 1) for float inputs, zeros for
/// others.
std::vector<Tensor> synthetic_inputs(const Graph& graph);

/// Checks the law of structured pruning on given inputs: `pruned` computes what `original` computes
/// once every constant slice of the doomed groups is zero. Returns the largest difference over the
/// largest output; throws Error(kInternal) where it is more than rounding explains.
double prove_removal(const Graph& original, const Graph& pruned, const ChannelSlots& slots,
                     const std::function<bool(uint32_t)>& doomed,
                     const std::vector<Tensor>& inputs);

}  // namespace pare
