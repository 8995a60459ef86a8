#pragma once

#include <cstdint>
#include <vector>

#include "tensor/im2col.h"

namespace pare {

/// Filters single channels: what a depthwise Conv does once for each of its outputs.
///
/// Rows of the channel are laid out with their padding and, for strides above 1, split by phase, so
/// that each tap reads a contiguous run and a loop over a row vectorizes; taps that meet a padding
/// row are left out. T is float or double.
template <typename T>
class DepthwiseFilter {
 public:
  explicit DepthwiseFilter(const Window& window);

  /// The laid out channel is not much larger than what is read and written. Where it is (a stride
  /// or a padding far beyond the extents), im2col serves better.
  static bool fits(const Window& window);

  /// Lays out channel `x` [input_size()] for add().
  void load(const T* x);
  /// y [positions()] += the loaded channel filtered by `weights` [taps()].
  void add(const T* weights, T* y);

 private:
  /// A tap's row relative to that of tap 0 without padding, and where it begins within its row.
  struct Tap {
    int64_t depth, height, offset;
  };
  void collect_taps(const T* weights, int64_t depth, int64_t height);

  Window window_;
  std::vector<Tap> taps_;
  int64_t run_;               ///< Elements of one phase of one row.
  std::vector<T> rows_;       ///< [input depth * height, stride, run_].
  std::vector<const T*> at_;  ///< Where the taps of the current output row begin, and
  std::vector<T> weights_;    ///< what they weigh.
};

}  // namespace pare
