#include "ir/window.h"

#include <algorithm>

namespace pare {
namespace {

/// No attribute or extent of a window may be larger, so that no product of two overflows.
constexpr int64_t kLimit = int64_t{1} << 31;

[[noreturn]] void refuse(const std::string& message) { throw Error(ErrorKind::kInput, message); }

/// Attribute `key` as `count` integers in [least, kLimit), or all `fallback` where it is left out.
Shape integers(const Node& node, std::string_view key, size_t count, int64_t least,
               int64_t fallback) {
  auto values = node.attribute<std::vector<int64_t>>(key, {});
  if (values.empty()) values.assign(count, fallback);
  if (values.size() != count)
    refuse("attribute '" + std::string(key) + "' is " + to_string(values) + ", expected " +
           std::to_string(count) + " integers");
  for (int64_t value : values) {
    if (value < least || value >= kLimit)
      refuse("attribute '" + std::string(key) + "' holds " + std::to_string(value) +
             ", expected at least " + std::to_string(least));
  }
  return values;
}

/// Copies a list by spatial axis into the innermost of three.
void place(Window::Axes& axes, const Shape& values, size_t from, size_t rank) {
  for (size_t i = 0; i < rank; ++i) axes[3 - rank + i] = values[from + i];
}

enum class AutoPad : uint8_t { kNotSet, kSameUpper, kSameLower, kValid };

AutoPad auto_pad(const Node& node) {
  const std::string mode = node.attribute("auto_pad", "NOTSET");
  if (mode == "NOTSET" || mode.empty()) return AutoPad::kNotSet;
  if (mode == "SAME_UPPER") return AutoPad::kSameUpper;
  if (mode == "SAME_LOWER") return AutoPad::kSameLower;
  if (mode == "VALID") return AutoPad::kValid;
  refuse("attribute 'auto_pad' is '" + mode +
         "', expected NOTSET, SAME_UPPER, SAME_LOWER or VALID");
}

bool is_same(AutoPad mode) { return mode == AutoPad::kSameUpper || mode == AutoPad::kSameLower; }

/// Everything but the extents that follow from the rest.
Window read_attributes(const Node& node, const Shape& x, const Shape& kernel) {
  const size_t rank = kernel.size();
  if (x.size() != rank + 2 || rank == 0)
    refuse("input is " + to_string(x) + ", a window of " + to_string(kernel) + " needs rank " +
           std::to_string(rank + 2));
  if (rank > 3)
    throw Error(ErrorKind::kUnsupported,
                "input is " + to_string(x) + ", windows slide over at most three spatial axes");
  for (const Shape& extents : {x, kernel}) {
    if (std::ranges::any_of(extents, [](int64_t e) { return e < 0 || e >= kLimit; }))
      refuse("extents " + to_string(extents) + " are out of range");
  }
  if (std::ranges::find(kernel, 0) != kernel.end())
    refuse("the kernel " + to_string(kernel) + " is empty");
  Window window;
  place(window.kernel, kernel, 0, rank);
  place(window.stride, integers(node, "strides", rank, 1, 1), 0, rank);
  place(window.dilation, integers(node, "dilations", rank, 1, 1), 0, rank);
  if (auto_pad(node) == AutoPad::kNotSet) {
    const Shape pads = integers(node, "pads", 2 * rank, 0, 0);
    place(window.pad_begin, pads, 0, rank);
    place(window.pad_end, pads, rank, rank);
  }
  return window;
}

/// Input extents one window covers along `axis`.
int64_t reach(const Window& window, size_t axis) {
  return (window.kernel[axis] - 1) * window.dilation[axis] + 1;
}

/// Splits `total` padding; an odd one goes to the end for kSameUpper, else to the beginning.
void split_padding(Window& window, size_t axis, int64_t total, bool upper) {
  total = std::max<int64_t>(total, 0);
  window.pad_begin[axis] = upper ? total / 2 : total - total / 2;
  window.pad_end[axis] = total - window.pad_begin[axis];
}

}  // namespace

Window sliding_window(const Node& node, const Shape& x, const Shape& kernel) {
  Window window = read_attributes(node, x, kernel);
  const size_t rank = kernel.size();
  place(window.input, x, 2, rank);
  const AutoPad mode = auto_pad(node);
  const bool ceil = node.attribute<int64_t>("ceil_mode", 0) != 0;
  for (size_t axis = 3 - rank; axis < 3; ++axis) {
    const int64_t input = window.input[axis], stride = window.stride[axis];
    int64_t& output = window.output[axis];
    if (is_same(mode)) {
      output = (input + stride - 1) / stride;
      split_padding(window, axis, (output - 1) * stride + reach(window, axis) - input,
                    mode == AutoPad::kSameUpper);
    } else {
      const int64_t padded = input + window.pad_begin[axis] + window.pad_end[axis];
      const int64_t slack = padded - reach(window, axis);
      if (slack < 0)
        refuse("a window of " + std::to_string(reach(window, axis)) +
               " does not fit into the padded extent " + std::to_string(padded) + " of input " +
               to_string(x));
      output = (slack + (ceil ? stride - 1 : 0)) / stride + 1;
      if (ceil && (output - 1) * stride >= input + window.pad_begin[axis]) --output;
    }
  }
  return window;
}

Window transposed_window(const Node& node, const Shape& x, const Shape& kernel) {
  Window window = read_attributes(node, x, kernel);
  const size_t rank = kernel.size();
  place(window.output, x, 2, rank);
  const AutoPad mode = auto_pad(node);
  const Shape extra = integers(node, "output_padding", rank, 0, 0);
  // Writers give spatial extents, some the full shape.
  auto wanted = node.attribute<std::vector<int64_t>>("output_shape", {});
  if (wanted.size() == rank + 2) wanted.erase(wanted.begin(), wanted.begin() + 2);
  const bool sane = std::ranges::all_of(wanted, [](int64_t e) { return e > 0 && e < kLimit; });
  if (!wanted.empty() && (wanted.size() != rank || !sane))
    refuse("attribute 'output_shape' is " + to_string(wanted) + ", expected " +
           std::to_string(rank) + " extents");
  for (size_t i = 0; i < rank; ++i) {
    const size_t axis = 3 - rank + i;
    const int64_t full =
        window.stride[axis] * (window.output[axis] - 1) + extra[i] + reach(window, axis);
    int64_t& result = window.input[axis];
    if (!wanted.empty()) {
      result = wanted[i];
      split_padding(window, axis, full - result, mode == AutoPad::kSameUpper);
    } else if (is_same(mode)) {  // Cuts down to input * stride; what is smaller stays.
      result = std::min(full, window.output[axis] * window.stride[axis]);
      split_padding(window, axis, full - result, mode == AutoPad::kSameUpper);
    } else {
      result = full - window.pad_begin[axis] - window.pad_end[axis];
    }
    if (result < 1 || result >= kLimit)
      refuse("input " + to_string(x) + " with kernel " + to_string(kernel) +
             " would make an output extent of " + std::to_string(result));
  }
  return window;
}

Shape kernel_of_weight(const Node& node, const Shape& weight) {
  if (weight.size() < 3)
    refuse("weight " + to_string(weight) + " has no spatial axes, expected rank 3 or more");
  Shape kernel(weight.begin() + 2, weight.end());
  const auto declared = node.attribute<std::vector<int64_t>>("kernel_shape", {});
  if (!declared.empty() && declared != kernel)
    refuse("weight is " + to_string(weight) + ", but attribute 'kernel_shape' is " +
           to_string(declared));
  return kernel;
}

Shape spatial_shape(const Window::Axes& axes, size_t rank) {
  return Shape(axes.end() - static_cast<ptrdiff_t>(rank), axes.end());
}

}  // namespace pare
