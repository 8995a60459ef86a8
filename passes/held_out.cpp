#include "passes/held_out.h"

#include <algorithm>

namespace pare {
namespace {

/// Neighbours that go together, as many as a forward pass takes, and one such block in so many.
constexpr int64_t kBlock = 8, kShare = 8;
/// Fewer than these say too little.
constexpr int64_t kFewest = 32;

}  // namespace

bool is_held_out(int64_t position, int64_t samples) {
  return samples >= kBlock * kShare && position / kBlock % kShare == kShare - 1;
}

int64_t samples_looked_at(const Dataset& data, int64_t fitted) {
  const bool enough = fitted >= kBlock * (kShare - 1);
  const int64_t wanted = std::min(enough ? fitted + fitted / (kShare - 1) : fitted, data.size());
  return wanted > kBlock ? wanted - wanted % kBlock : wanted;
}

std::vector<int64_t> unfitted_samples(const Dataset& data, int64_t fitted, int64_t most) {
  const std::vector<int64_t> looked_at = data.spread(samples_looked_at(data, fitted));
  std::vector<bool> is_fitted(static_cast<size_t>(data.size()));
  const auto count = static_cast<int64_t>(looked_at.size());
  for (int64_t i = 0; i < count; ++i)
    is_fitted[static_cast<size_t>(looked_at[static_cast<size_t>(i)])] = !is_held_out(i, count);
  std::vector<int64_t> rest;
  for (int64_t i = 0; i < data.size(); ++i) {
    if (!is_fitted[static_cast<size_t>(i)]) rest.push_back(i);
  }
  if (static_cast<int64_t>(rest.size()) < kFewest) return {};
  return spread(rest, most);
}

std::vector<int64_t> spread(const std::vector<int64_t>& indices, int64_t most) {
  const auto size = static_cast<int64_t>(indices.size()), count = std::min(size, most);
  std::vector<int64_t> chosen;
  for (int64_t i = 0; i < count; ++i)
    chosen.push_back(indices[static_cast<size_t>(i * size / count)]);
  return chosen;
}

}  // namespace pare
