#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace pare {

/// A window sliding over a [depth, height, width] image: the geometry of a convolution or pooling.
///
/// Always three axes, outermost first. A 2-D window has depth 1 and a 1-D window height 1 too, each
/// with extent 1, stride 1 and no padding, so one loop nest serves every rank. Tap t of output
/// position p reads input index p * stride + t * dilation - pad_begin; outside [0, input) it is
/// padding.
struct Window {
  using Axes = std::array<int64_t, 3>;
  Axes input{1, 1, 1}, output{1, 1, 1}, kernel{1, 1, 1};
  Axes stride{1, 1, 1}, dilation{1, 1, 1};
  Axes pad_begin{0, 0, 0}, pad_end{0, 0, 0};

  int64_t positions() const { return output[0] * output[1] * output[2]; }
  int64_t taps() const { return kernel[0] * kernel[1] * kernel[2]; }
  int64_t input_size() const { return input[0] * input[1] * input[2]; }
  /// A patch is the input itself (1x1, stride 1, no padding), so im2col would only copy.
  bool is_pointwise() const;
};

/// Indices [first, last) along an axis.
struct Run {
  int64_t first, last;
};

/// The output positions of `axis` at which tap `tap` reads the image, not padding.
Run positions_inside(const Window& window, size_t axis, int64_t tap);

/// Unfolds `count` output positions from `first` on of an image `x` [channels, input_size()] into
/// `columns` [channels * taps(), count] with row stride `ld`, zeros for padding.
///
/// Row (c, t) is what weight W[o, c, t] meets, so Conv is W [O, C * taps] times columns. T is float
/// or double.
template <typename T>
void im2col(const Window& window, int64_t channels, const T* x, int64_t first, int64_t count,
            T* columns, int64_t ld);

/// The reverse: adds `columns` back onto the image `x` they would have been taken from.
template <typename T>
void col2im(const Window& window, int64_t channels, const T* columns, int64_t ld, int64_t first,
            int64_t count, T* x);

/// The patch of one output position as one row [channels * taps()], in im2col's row order: what a
/// Gram matrix of patches sums over.
void patch(const Window& window, int64_t channels, const float* x, int64_t position, float* row);

}  // namespace pare
