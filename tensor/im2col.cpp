#include "tensor/im2col.h"

#include <algorithm>
#include <vector>

namespace pare {
namespace {

int64_t ceil_div(int64_t a, int64_t b) { return a > 0 ? (a + b - 1) / b : -(-a / b); }

/// Calls `body(column, image, run)` for each stretch of [first, first + count) along the width that
/// one tap of one channel covers: `column` is the offset of the stretch, `image` the index that
/// width position 0 of its row would read (negative: none, the row is padding), `run` the widths.
template <typename Body>
void for_each_stretch(const Window& w, const Window::Axes& tap, int64_t first, int64_t count,
                      Body&& body) {
  const auto at = [&](size_t axis, int64_t position) {
    const int64_t i = position * w.stride[axis] + tap[axis] * w.dilation[axis] - w.pad_begin[axis];
    return i < 0 || i >= w.input[axis] ? -1 : i;
  };
  const int64_t width = w.output[2], end = first + count;
  for (int64_t p = first; p < end;) {
    const int64_t row = p / width, begin = p % width;
    const Run run{begin, std::min(width, begin + end - p)};
    const int64_t depth = at(0, row / w.output[1]), height = at(1, row % w.output[1]);
    const bool inside = depth >= 0 && height >= 0;
    body(p - first, inside ? (depth * w.input[1] + height) * w.input[2] : -1, run);
    p += run.last - run.first;
  }
}

/// Calls `body(row, channel, tap)` for each row of an unfolded image.
template <typename Body>
void for_each_row(const Window& w, int64_t channels, Body&& body) {
  int64_t row = 0;
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t d = 0; d < w.kernel[0]; ++d) {
      for (int64_t h = 0; h < w.kernel[1]; ++h) {
        for (int64_t v = 0; v < w.kernel[2]; ++v) body(row++, c, Window::Axes{d, h, v});
      }
    }
  }
}

/// True where output position p reads at p + constant, whatever the row: all but the borders of a
/// "same" convolution in steps of one.
bool is_shift(const Window& w) {
  return w.input[0] == 1 && w.output[0] == 1 && w.kernel[0] == 1 && w.stride[1] == 1 &&
         w.stride[2] == 1 && w.input[1] == w.output[1] && w.input[2] == w.output[2];
}

/// im2col() where is_shift(), a tap at a time for all channels: one copy of a channel, then zeros
/// where that read around a border.
template <typename T>
void copy_shifted(const Window& w, int64_t channels, const T* x, int64_t first, int64_t count,
                  T* columns, int64_t ld) {
  const int64_t width = w.output[2], end = first + count, size = w.input_size();
  std::vector<int64_t> border;  // Columns that read left or right of the image.
  for_each_row(w, 1, [&](int64_t row, int64_t, const Window::Axes& tap) {
    const Run inside = positions_inside(w, 1, tap[1]), across = positions_inside(w, 2, tap[2]);
    const int64_t shift =
        (tap[1] * w.dilation[1] - w.pad_begin[1]) * width + tap[2] * w.dilation[2] - w.pad_begin[2];
    const int64_t a = std::clamp(std::max(inside.first * width, -shift), first, end);
    const int64_t b = std::clamp(std::min(inside.last * width, size - shift), a, end);
    border.clear();
    const auto note = [&](int64_t from, int64_t to) {
      for (int64_t p = std::max(from, a); p < std::min(to, b); ++p) border.push_back(p - first);
    };
    for (int64_t start = first - first % width; start < end; start += width) {
      note(start, start + across.first);
      note(start + across.last, start + width);
    }
    for (int64_t c = 0; c < channels; ++c) {
      const T* image = x + c * size;
      T* to = columns + (c * w.taps() + row) * ld;
      std::fill(to, to + (a - first), T{0});
      std::copy(image + a + shift, image + b + shift, to + (a - first));
      std::fill(to + (b - first), to + count, T{0});
      for (const int64_t p : border) to[p] = T{0};
    }
  });
}

}  // namespace

bool Window::is_pointwise() const {
  return taps() == 1 && stride == Axes{1, 1, 1} && pad_begin == Axes{0, 0, 0} &&
         pad_end == Axes{0, 0, 0};
}

Run positions_inside(const Window& w, size_t axis, int64_t tap) {
  const int64_t shift = tap * w.dilation[axis] - w.pad_begin[axis];
  const int64_t first = std::clamp(ceil_div(-shift, w.stride[axis]), int64_t{0}, w.output[axis]);
  const int64_t last = ceil_div(w.input[axis] - shift, w.stride[axis]);
  return {first, std::clamp(last, first, w.output[axis])};
}

template <typename T>
void im2col(const Window& w, int64_t channels, const T* x, int64_t first, int64_t count, T* columns,
            int64_t ld) {
  if (is_shift(w)) {
    copy_shifted(w, channels, x, first, count, columns, ld);
    return;
  }
  for_each_row(w, channels, [&](int64_t row, int64_t c, const Window::Axes& tap) {
    const T* image = x + c * w.input_size();
    const Run inside = positions_inside(w, 2, tap[2]);
    const int64_t shift = tap[2] * w.dilation[2] - w.pad_begin[2], stride = w.stride[2];
    for_each_stretch(w, tap, first, count, [&](int64_t column, int64_t start, Run run) {
      T* to = columns + row * ld + column;
      const int64_t length = run.last - run.first;
      if (start < 0) {
        std::fill_n(to, length, T{0});
        return;
      }
      const int64_t a = std::clamp(inside.first, run.first, run.last);
      const int64_t b = std::clamp(inside.last, a, run.last);
      std::fill_n(to, a - run.first, T{0});
      if (stride == 1) {
        std::copy_n(image + start + a + shift, b - a, to + (a - run.first));
      } else {
        for (int64_t p = a; p < b; ++p) to[p - run.first] = image[start + p * stride + shift];
      }
      std::fill_n(to + (b - run.first), run.last - b, T{0});
    });
  });
}

template <typename T>
void col2im(const Window& w, int64_t channels, const T* columns, int64_t ld, int64_t first,
            int64_t count, T* x) {
  for_each_row(w, channels, [&](int64_t row, int64_t c, const Window::Axes& tap) {
    T* image = x + c * w.input_size();
    const Run inside = positions_inside(w, 2, tap[2]);
    const int64_t shift = tap[2] * w.dilation[2] - w.pad_begin[2], stride = w.stride[2];
    for_each_stretch(w, tap, first, count, [&](int64_t column, int64_t start, Run run) {
      if (start < 0) return;
      const T* from = columns + row * ld + column;
      const int64_t a = std::clamp(inside.first, run.first, run.last);
      const int64_t b = std::clamp(inside.last, a, run.last);
      for (int64_t p = a; p < b; ++p) image[start + p * stride + shift] += from[p - run.first];
    });
  });
}

template void im2col(const Window&, int64_t, const float*, int64_t, int64_t, float*, int64_t);
template void im2col(const Window&, int64_t, const double*, int64_t, int64_t, double*, int64_t);
template void col2im(const Window&, int64_t, const float*, int64_t, int64_t, int64_t, float*);
template void col2im(const Window&, int64_t, const double*, int64_t, int64_t, int64_t, double*);

void patch(const Window& w, int64_t channels, const float* x, int64_t position, float* row) {
  const Window::Axes at{position / (w.output[2] * w.output[1]),
                        position / w.output[2] % w.output[1], position % w.output[2]};
  std::vector<int64_t> offsets;  // In an image, by tap; -1 in the padding.
  for_each_row(w, 1, [&](int64_t, int64_t, const Window::Axes& tap) {
    int64_t offset = 0;
    for (size_t axis = 0; axis < 3; ++axis) {
      const int64_t i =
          at[axis] * w.stride[axis] + tap[axis] * w.dilation[axis] - w.pad_begin[axis];
      const bool inside = offset >= 0 && i >= 0 && i < w.input[axis];
      offset = inside ? offset * w.input[axis] + i : -1;
    }
    offsets.push_back(offset);
  });
  for (int64_t c = 0; c < channels; ++c, x += w.input_size()) {
    for (const int64_t offset : offsets) *row++ = offset < 0 ? 0.0f : x[offset];
  }
}

}  // namespace pare
