#pragma once

#include <cstdint>
#include <vector>

#include "calib/dataset.h"

namespace pare {

/// Weights are fitted to samples that are spread over the data. Every eighth eight of them is held
/// out where there are 64 or more: nothing is fitted to those, but what is fitted is judged on
/// them. True for the sample at `position` of the `samples` looked at.
bool is_held_out(int64_t position, int64_t samples);

/// How many samples to look at so that `fitted` of them are fitted to, as far as the data goes.
int64_t samples_looked_at(const Dataset& data, int64_t fitted);

/// Indices of the samples that nothing is fitted to when fits use `fitted` of the data: those held
/// out and those not looked at; `most` of them at the most, spread evenly, ascending. None where
/// there are fewer than 32, which say too little.
std::vector<int64_t> unfitted_samples(const Dataset& data, int64_t fitted, int64_t most);

/// `most` of the indices at the most, spread evenly, in their order.
std::vector<int64_t> spread(const std::vector<int64_t>& indices, int64_t most);

}  // namespace pare
