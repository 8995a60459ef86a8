#include "ops/depthwise.h"

#include <algorithm>
#include <cstddef>

namespace pare {
namespace {

/// Elements of one phase of a row: those under the output positions and under the last tap's lead.
int64_t run_length(const Window& w) {
  return w.output[2] + (w.kernel[2] - 1) * w.dilation[2] / w.stride[2];
}

/// y[i] += sum over N taps of weight * at[i].
template <int N, typename T>
void add_taps(const T* const* at, const T* weights, int64_t count, T* __restrict y) {
  for (int64_t i = 0; i < count; ++i) {
    T sum = y[i];
    for (int t = 0; t < N; ++t) sum += weights[t] * at[t][i];
    y[i] = sum;
  }
}

}  // namespace

template <typename T>
DepthwiseFilter<T>::DepthwiseFilter(const Window& window)
    : window_(window),
      run_(run_length(window)),
      rows_(static_cast<size_t>(window.input[0] * window.input[1] * window.stride[2] * run_),
            T{0}) {
  for (int64_t d = 0; d < window.kernel[0]; ++d) {
    for (int64_t h = 0; h < window.kernel[1]; ++h) {
      for (int64_t v = 0; v < window.kernel[2]; ++v) {
        const int64_t lead = v * window.dilation[2];
        taps_.push_back({d * window.dilation[0] - window.pad_begin[0],
                         h * window.dilation[1] - window.pad_begin[1],
                         lead % window.stride[2] * run_ + lead / window.stride[2]});
      }
    }
  }
}

template <typename T>
bool DepthwiseFilter<T>::fits(const Window& w) {
  const int64_t budget = 8 * (w.input_size() + w.positions()), rows = w.input[0] * w.input[1];
  const int64_t run = run_length(w);
  return rows > 0 && run > 0 && run <= budget && w.stride[2] <= budget / run &&
         rows <= budget / (run * w.stride[2]);
}

template <typename T>
void DepthwiseFilter<T>::load(const T* x) {
  const int64_t stride = window_.stride[2], width = window_.input[2], pad = window_.pad_begin[2];
  T* run = rows_.data();
  for (int64_t r = 0; r < window_.input[0] * window_.input[1]; ++r, x += width) {
    for (int64_t phase = 0; phase < stride; ++phase, run += run_) {
      // Element i of the run is column i * stride + phase of the padded row.
      const int64_t first = phase < pad ? (pad - phase + stride - 1) / stride : 0;
      const int64_t columns = width + pad - phase;
      const int64_t last = std::min(run_, columns > 0 ? (columns + stride - 1) / stride : 0);
      for (int64_t i = first; i < last; ++i) run[i] = x[i * stride + phase - pad];
    }
  }
}

template <typename T>
void DepthwiseFilter<T>::collect_taps(const T* weights, int64_t depth, int64_t height) {
  const Window& w = window_;
  const int64_t row = w.stride[2] * run_;
  at_.clear();
  weights_.clear();
  for (size_t t = 0; t < taps_.size(); ++t) {
    const int64_t d = depth * w.stride[0] + taps_[t].depth;
    const int64_t h = height * w.stride[1] + taps_[t].height;
    if (d < 0 || d >= w.input[0] || h < 0 || h >= w.input[1]) continue;
    at_.push_back(rows_.data() + (d * w.input[1] + h) * row + taps_[t].offset);
    weights_.push_back(weights[t]);
  }
}

template <typename T>
void DepthwiseFilter<T>::add(const T* weights, T* y) {
  const int64_t width = window_.output[2];
  for (int64_t d = 0; d < window_.output[0]; ++d) {
    for (int64_t h = 0; h < window_.output[1]; ++h, y += width) {
      collect_taps(weights, d, h);
      size_t t = 0;
      for (; t + 9 <= at_.size(); t += 9) add_taps<9>(&at_[t], &weights_[t], width, y);
      for (; t + 5 <= at_.size(); t += 5) add_taps<5>(&at_[t], &weights_[t], width, y);
      for (; t + 3 <= at_.size(); t += 3) add_taps<3>(&at_[t], &weights_[t], width, y);
      for (; t < at_.size(); ++t) add_taps<1>(&at_[t], &weights_[t], width, y);
    }
  }
}

template class DepthwiseFilter<float>;
template class DepthwiseFilter<double>;

}  // namespace pare
