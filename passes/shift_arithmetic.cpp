#include "passes/shift_arithmetic.h"

#include <algorithm>
#include <limits>
#include <optional>

#include "ir/window.h"

namespace pare {
namespace {

constexpr int64_t kLowest = std::numeric_limits<int32_t>::min();
constexpr int64_t kHighest = std::numeric_limits<int32_t>::max();

int32_t narrow(int64_t n) {
  if (n < kLowest || n > kHighest)
    throw Error(ErrorKind::kUnsupported, "a sum does not fit 32 bits");
  return static_cast<int32_t>(n);
}

FixedPoint at_exponent(const FixedPoint& x, int exponent) {
  if (x.exponent == exponent) return x;
  FixedPoint result{x.shape, {}, exponent};
  result.numbers.reserve(x.numbers.size());
  for (const int32_t n : x.numbers)
    result.numbers.push_back(narrow(shifted(n, exponent - x.exponent, ShiftRounding::kHalfEven)));
  return result;
}

/// Of the weights of each output, the largest sum of what they can add up to with operands of 8
/// bits and the bias: what the sums must hold.
void check_room(const FixedPoint& w, size_t outputs, const FixedPoint* bias) {
  constexpr int64_t kLargestOperand = 128;
  const size_t each = outputs > 0 ? w.numbers.size() / outputs : 0;
  for (size_t o = 0; o < outputs; ++o) {
    int64_t most = bias ? std::abs(int64_t{bias->numbers[o]}) : 0;
    for (size_t i = 0; i < each; ++i)
      most += kLargestOperand * std::abs(int64_t{w.numbers[o * each + i]});
    narrow(most);
  }
}

/// The bias at the exponent of the sums; throws where that would round.
FixedPoint bias_of_sums(const FixedPoint& bias, int exponent) {
  if (bias.exponent < exponent)
    throw Error(ErrorKind::kUnsupported, "the bias is finer than the sums it is added to");
  return at_exponent(bias, exponent);
}

/// Calls body(result, number) for each place where the tap reads the image.
template <typename Body>
void for_places(const Window& window, const int32_t* x, int32_t* results, const Window::Axes& tap,
                const Body& body) {
  const Run depth = positions_inside(window, 0, tap[0]);
  const Run rows = positions_inside(window, 1, tap[1]);
  const Run columns = positions_inside(window, 2, tap[2]);
  const auto source = [&](size_t axis, int64_t position) {
    return position * window.stride[axis] + tap[axis] * window.dilation[axis] -
           window.pad_begin[axis];
  };
  for (int64_t d = depth.first; d < depth.last; ++d) {
    for (int64_t r = rows.first; r < rows.last; ++r) {
      const int32_t* from = x + (source(0, d) * window.input[1] + source(1, r)) * window.input[2];
      int32_t* to = results + (d * window.output[1] + r) * window.output[2];
      const int64_t begin = source(2, 0), step = window.stride[2];
      for (int64_t c = columns.first; c < columns.last; ++c) body(to[c], from[begin + c * step]);
    }
  }
}

/// Calls body(tap, index) for each tap of a window.
template <typename Body>
void for_taps(const Window& window, const Body& body) {
  size_t index = 0;
  for (int64_t d = 0; d < window.kernel[0]; ++d)
    for (int64_t r = 0; r < window.kernel[1]; ++r)
      for (int64_t c = 0; c < window.kernel[2]; ++c) body(Window::Axes{d, r, c}, index++);
}

Shape pooled_shape(const Window& window, const Shape& x) {
  Shape shape{x[0], x[1]};
  const Shape spatial = spatial_shape(window.output, x.size() - 2);
  shape.insert(shape.end(), spatial.begin(), spatial.end());
  return shape;
}

Window pool_window(const Node& node, const Shape& x) {
  const Shape whole(x.begin() + 2, x.end());
  if (node.op == "GlobalAveragePool") return sliding_window(Node{}, x, whole);
  return sliding_window(node, x, node.attribute("kernel_shape", whole));
}

/// For each element of the broadcast of two shapes, where it is in an operand of shape `own`.
std::vector<size_t> places(const Shape& whole, const Shape& own) {
  std::vector<size_t> steps(whole.size(), 0);
  size_t step = 1;
  for (size_t back = 1; back <= own.size(); ++back) {
    const auto extent = static_cast<size_t>(own[own.size() - back]);
    if (extent > 1) steps[whole.size() - back] = step;
    step *= extent;
  }
  std::vector<size_t> result(static_cast<size_t>(element_count(whole)));
  std::vector<int64_t> at(whole.size(), 0);
  size_t place = 0;
  for (size_t& entry : result) {
    entry = place;
    for (size_t axis = whole.size(); axis-- > 0;) {
      place += steps[axis];
      if (++at[axis] < whole[axis]) break;
      place -= steps[axis] * static_cast<size_t>(whole[axis]);
      at[axis] = 0;
    }
  }
  return result;
}

Shape broadcast_shape(const Shape& a, const Shape& b) {
  Shape whole(std::max(a.size(), b.size()), 1);
  for (const Shape* shape : {&a, &b})
    for (size_t back = 1; back <= shape->size(); ++back) {
      int64_t& extent = whole[whole.size() - back];
      const int64_t own = (*shape)[shape->size() - back];
      if (extent == 1) extent = own;
    }
  return whole;
}

template <typename F>
FixedPoint element_by_element(const FixedPoint& a, const FixedPoint& b, int exponent, const F& f) {
  FixedPoint result{broadcast_shape(a.shape, b.shape), {}, exponent};
  const std::vector<size_t> in_a = places(result.shape, a.shape);
  const std::vector<size_t> in_b = places(result.shape, b.shape);
  result.numbers.reserve(in_a.size());
  for (size_t i = 0; i < in_a.size(); ++i)
    result.numbers.push_back(narrow(f(int64_t{a.numbers[in_a[i]]}, int64_t{b.numbers[in_b[i]]})));
  return result;
}

}  // namespace

int64_t shifted(int64_t n, int shift, ShiftRounding rounding) {
  constexpr int kMost = 62;
  if (shift == 0 || n == 0) return n;
  if (shift < 0) {
    const int left = std::min(-shift, kMost);
    const int64_t limit = std::numeric_limits<int64_t>::max() >> left;
    return n > limit || n < -limit ? (n > 0 ? kHighest + 1 : kLowest - 1)
                                   : n * (int64_t{1} << left);
  }
  if (shift > kMost) return 0;
  const int64_t floor = n >> shift;  // Towards minus infinity.
  const int64_t rest = n - (floor << shift), half = int64_t{1} << (shift - 1);
  if (rest != half) return floor + (rest > half ? 1 : 0);
  return rounding == ShiftRounding::kHalfUp ? floor + 1 : floor + (floor & 1);
}

FixedPoint rescaled(const FixedPoint& x, int exponent, int32_t low, int32_t high,
                    ShiftRounding rounding) {
  FixedPoint result{x.shape, {}, exponent};
  result.numbers.reserve(x.numbers.size());
  for (const int32_t n : x.numbers)
    result.numbers.push_back(static_cast<int32_t>(std::clamp<int64_t>(
        shifted(n, exponent - x.exponent, rounding), int64_t{low}, int64_t{high})));
  return result;
}

FixedPoint convolve(const Node& conv, const FixedPoint& x, const FixedPoint& w,
                    const FixedPoint* bias) {
  const Window window = sliding_window(conv, x.shape, kernel_of_weight(conv, w.shape));
  const auto group = conv.attribute<int64_t>("group", 1);
  const int64_t filters = w.shape[0], inputs = w.shape[1];
  FixedPoint y{pooled_shape(window, x.shape), {}, x.exponent + w.exponent};
  y.shape[1] = filters;
  y.numbers.assign(static_cast<size_t>(element_count(y.shape)), 0);
  std::optional<FixedPoint> start;
  if (bias) start = bias_of_sums(*bias, y.exponent);
  check_room(w, static_cast<size_t>(filters), start ? &*start : nullptr);
  const int64_t taps = window.taps();
  for (int64_t n = 0; n < x.shape[0]; ++n) {
    for (int64_t o = 0; o < filters; ++o) {
      int32_t* sums = y.numbers.data() + (n * filters + o) * window.positions();
      if (start) std::fill_n(sums, window.positions(), start->numbers[static_cast<size_t>(o)]);
      const int64_t first = o / (filters / group) * inputs;
      for (int64_t c = 0; c < inputs; ++c) {
        const int32_t* image =
            x.numbers.data() + (n * x.shape[1] + first + c) * window.input_size();
        const int32_t* weights = w.numbers.data() + (o * inputs + c) * taps;
        for_taps(window, [&](const Window::Axes& tap, size_t t) {
          const int32_t weight = weights[t];
          if (weight == 0) return;
          for_places(window, image, sums, tap, [=](int32_t& sum, int32_t n) { sum += weight * n; });
        });
      }
    }
  }
  return y;
}

FixedPoint transposed(const FixedPoint& matrix) {
  const auto rows = static_cast<size_t>(matrix.shape[0]);
  const auto columns = static_cast<size_t>(matrix.shape[1]);
  FixedPoint result{{matrix.shape[1], matrix.shape[0]}, matrix.numbers, matrix.exponent};
  for (size_t r = 0; r < rows; ++r)
    for (size_t c = 0; c < columns; ++c)
      result.numbers[c * rows + r] = matrix.numbers[r * columns + c];
  return result;
}

FixedPoint multiply_matrices(const FixedPoint& a, const FixedPoint& b) {
  if (a.shape.size() < 2 || b.shape.size() < 2 ||
      (b.shape.size() > 2 &&
       !std::ranges::equal(a.shape.begin(), a.shape.end() - 2, b.shape.begin(), b.shape.end() - 2)))
    throw Error(ErrorKind::kUnsupported,
                "matrices " + to_string(a.shape) + " and " + to_string(b.shape) + " are broadcast");
  const int64_t depth = a.shape.back(), columns = b.shape.back();
  const int64_t rows = a.shape[a.shape.size() - 2];
  FixedPoint y{a.shape, {}, a.exponent + b.exponent};
  y.shape.back() = columns;
  y.numbers.assign(static_cast<size_t>(element_count(y.shape)), 0);
  const int64_t matrices = element_count(a.shape) / std::max<int64_t>(1, rows * depth);
  for (int64_t m = 0; m < matrices; ++m) {
    const int32_t* right = b.numbers.data() + (b.shape.size() > 2 ? m * depth * columns : 0);
    for (int64_t r = 0; r < rows; ++r) {
      const int32_t* left = a.numbers.data() + (m * rows + r) * depth;
      for (int64_t c = 0; c < columns; ++c) {
        int64_t sum = 0;
        for (int64_t k = 0; k < depth; ++k) sum += int64_t{left[k]} * right[k * columns + c];
        y.numbers[static_cast<size_t>((m * rows + r) * columns + c)] = narrow(sum);
      }
    }
  }
  return y;
}

FixedPoint combined(Combine op, const FixedPoint& a, const FixedPoint& b) {
  const int exponent = std::min(a.exponent, b.exponent);
  const FixedPoint x = at_exponent(a, exponent), y = at_exponent(b, exponent);
  return element_by_element(x, y, exponent, [op](int64_t m, int64_t n) {
    switch (op) {
      case Combine::kAdd:
        return m + n;
      case Combine::kSubtract:
        return m - n;
      case Combine::kLarger:
        return std::max(m, n);
      case Combine::kSmaller:
        break;
    }
    return std::min(m, n);
  });
}

FixedPoint multiplied(const FixedPoint& a, const FixedPoint& b) {
  return element_by_element(a, b, a.exponent + b.exponent,
                            [](int64_t m, int64_t n) { return m * n; });
}

FixedPoint max_pool(const Node& node, const FixedPoint& x) {
  const Window window = pool_window(node, x.shape);
  FixedPoint y{pooled_shape(window, x.shape), {}, x.exponent};
  y.numbers.assign(static_cast<size_t>(element_count(y.shape)),
                   std::numeric_limits<int32_t>::min());
  const int64_t images = x.shape[0] * x.shape[1];
  for (int64_t i = 0; i < images; ++i) {
    const int32_t* image = x.numbers.data() + i * window.input_size();
    int32_t* largest = y.numbers.data() + i * window.positions();
    for_taps(window, [&](const Window::Axes& tap, size_t) {
      for_places(window, image, largest, tap,
                 [](int32_t& most, int32_t n) { most = std::max(most, n); });
    });
  }
  return y;
}

FixedPoint sum_pool(const Node& node, const FixedPoint& x, int64_t multiplier, int shift) {
  const Window window = pool_window(node, x.shape);
  FixedPoint y{pooled_shape(window, x.shape), {}, x.exponent - shift};
  y.numbers.assign(static_cast<size_t>(element_count(y.shape)), 0);
  const int64_t images = x.shape[0] * x.shape[1];
  for (int64_t i = 0; i < images; ++i) {
    int32_t* sums = y.numbers.data() + i * window.positions();
    for_taps(window, [&](const Window::Axes& tap, size_t) {
      for_places(window, x.numbers.data() + i * window.input_size(), sums, tap,
                 [](int32_t& sum, int32_t n) { sum += n; });
    });
  }
  for (int32_t& sum : y.numbers) sum = narrow(multiplier * sum);
  return y;
}

}  // namespace pare
