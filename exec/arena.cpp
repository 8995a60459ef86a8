#include "exec/arena.h"

#include <algorithm>
#include <numeric>

namespace pare {
namespace {

constexpr size_t kAlignment = 64;  ///< A cache line and the widest vector.

size_t aligned(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

bool overlap(const ArenaBuffer& a, const ArenaBuffer& b) {
  return a.first <= b.last && b.first <= a.last;
}

}  // namespace

ArenaLayout lay_out_arena(const std::vector<ArenaBuffer>& buffers) {
  std::vector<size_t> by_size(buffers.size());
  std::iota(by_size.begin(), by_size.end(), size_t{0});
  std::ranges::stable_sort(by_size,
                           [&](size_t a, size_t b) { return buffers[a].bytes > buffers[b].bytes; });
  ArenaLayout layout{.offsets = std::vector<size_t>(buffers.size())};
  std::vector<size_t> placed;  // By offset.
  for (size_t buffer : by_size) {
    const size_t bytes = aligned(buffers[buffer].bytes);
    size_t end = 0, best_offset = 0, best_gap = 0;
    bool found = false;
    for (size_t other : placed) {
      if (!overlap(buffers[buffer], buffers[other])) continue;
      const size_t offset = layout.offsets[other];
      if (offset > end && offset - end >= bytes && (!found || offset - end < best_gap)) {
        best_offset = end;
        best_gap = offset - end;
        found = true;
      }
      end = std::max(end, offset + aligned(buffers[other].bytes));
    }
    layout.offsets[buffer] = found ? best_offset : end;
    layout.bytes = std::max(layout.bytes, layout.offsets[buffer] + bytes);
    placed.insert(std::ranges::upper_bound(placed, layout.offsets[buffer], {},
                                           [&](size_t other) { return layout.offsets[other]; }),
                  buffer);
  }
  return layout;
}

}  // namespace pare
