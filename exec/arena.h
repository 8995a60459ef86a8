#pragma once

#include <cstddef>
#include <vector>

namespace pare {

/// Memory needed from step `first` to step `last`, both included.
struct ArenaBuffer {
  size_t bytes = 0;
  size_t first = 0, last = 0;
};

struct ArenaLayout {
  std::vector<size_t> offsets;  ///< Of each buffer, multiples of 64.
  size_t bytes = 0;             ///< In all.
};

/// Places buffers so that no two that live at the same time overlap: the largest first, each into
/// the smallest gap that takes it.
ArenaLayout lay_out_arena(const std::vector<ArenaBuffer>& buffers);

}  // namespace pare
