#include "calib/preprocess.h"

#include <cmath>
#include <limits>

namespace pare {
namespace {

/// (x * scale - mean) / std, rounded to the target when that is an integer.
template <typename To>
To converted(double y) {
  if constexpr (std::is_same_v<To, bool>) {
    return y != 0;
  } else if constexpr (std::is_integral_v<To>) {
    const double low = static_cast<double>(std::numeric_limits<To>::min());
    const double high = std::ldexp(1.0, std::numeric_limits<To>::digits);
    y = std::isnan(y) ? 0 : std::nearbyint(y);
    return y >= high  ? std::numeric_limits<To>::max()
           : y <= low ? std::numeric_limits<To>::min()
                      : static_cast<To>(y);
  } else if constexpr (std::is_same_v<To, double>) {
    return y;
  } else {
    return static_cast<To>(static_cast<float>(y));
  }
}

template <typename From>
double number(From x) {
  if constexpr (std::is_same_v<From, Float16> || std::is_same_v<From, BFloat16>) {
    return static_cast<float>(x);
  } else {
    return static_cast<double>(x);
  }
}

double channel(const std::vector<double>& numbers, size_t c, double fallback) {
  if (numbers.empty()) return fallback;
  return numbers[numbers.size() == 1 ? 0 : c];
}

void check_count(const std::string& name, const std::vector<double>& numbers, const char* what,
                 const Shape& sample, size_t axis) {
  if (numbers.size() <= 1) return;
  if (sample.empty() || sample[axis] != static_cast<int64_t>(numbers.size()))
    throw Error(ErrorKind::kUsage, name + ": " + what + " has " + std::to_string(numbers.size()) +
                                       " numbers, the samples " + to_string(sample) + " have " +
                                       (sample.empty() ? "no" : std::to_string(sample[axis])) +
                                       " channels");
}

}  // namespace

size_t channel_axis(const Shape& sample, Layout layout) {
  return layout == Layout::kNhwc && !sample.empty() ? sample.size() - 1 : 0;
}

void check_channels(const std::string& name, const Preprocess& preprocess, const Shape& sample,
                    Layout layout) {
  const size_t axis = channel_axis(sample, layout);
  check_count(name, preprocess.mean, "mean", sample, axis);
  check_count(name, preprocess.std, "std", sample, axis);
}

Tensor normalized(const Tensor& batch, const Preprocess& preprocess, Layout layout, DType dtype) {
  const Shape& shape = batch.shape();
  Tensor result = Tensor::uninitialized(dtype, shape);
  if (batch.size() == 0) return result;
  const Shape sample(shape.begin() + 1, shape.end());
  const size_t axis = channel_axis(sample, layout);
  const auto channels = sample.empty() ? size_t{1} : static_cast<size_t>(sample[axis]);
  // Elements behind one another of the same channel.
  const size_t run =
      layout == Layout::kNhwc ? 1 : static_cast<size_t>(batch.size() / shape[0]) / channels;
  visit_dtype(batch.dtype(), [&]<typename From>() {
    visit_dtype(dtype, [&]<typename To>() {
      const std::span<const From> from = batch.data<From>();
      const std::span<To> to = result.mutable_data<To>();
      for (size_t begin = 0, c = 0; begin < from.size(); begin += run, c = (c + 1) % channels) {
        const double mean = channel(preprocess.mean, c, 0), std = channel(preprocess.std, c, 1);
        for (size_t i = begin; i < begin + run; ++i)
          to[i] = converted<To>((number(from[i]) * preprocess.scale - mean) / std);
      }
    });
  });
  return result;
}

}  // namespace pare
