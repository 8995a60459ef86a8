// ONNX Compress, NonZero, OneHot and Unique: what they give depends on the numbers they are given.
// https://onnx.ai/onnx/operators/onnx__Compress.html, onnx__NonZero.html, onnx__OneHot.html,
// onnx__Unique.html

#include <algorithm>
#include <cstring>
#include <map>
#include <numeric>

#include "ops/axes.h"
#include "ops/movement.h"

namespace pare {
namespace {

// -- Compress
// ----------------------------------------------------------------------------------------

/// Without an axis the input is taken as a list.
std::vector<TensorType> infer_compress(const Node& node, Operands in) {
  TensorType type = *in[0].type;
  if (node.has_attribute("axis")) {
    type.shape[axis_attribute(node, 0, type.shape.size())] = -1;
  } else {
    type.shape = {-1};
  }
  return {type};
}

std::vector<Tensor> eval_compress(const Node& node, std::span<const Tensor* const> in) {
  const bool flat = !node.has_attribute("axis");
  const Tensor x = flat ? in[0]->reshaped({in[0]->size()}) : *in[0];
  const size_t axis = flat ? 0 : axis_attribute(node, 0, x.shape().size());
  const std::vector<int64_t> condition = to_int64(*in[1]);
  std::vector<int64_t> keep;
  for (size_t i = 0; i < condition.size(); ++i) {
    if (condition[i] == 0) continue;
    if (static_cast<int64_t>(i) >= x.shape()[axis]) {
      throw Error(ErrorKind::kInput, "condition selects index " + std::to_string(i) +
                                         " of an extent of " + std::to_string(x.shape()[axis]));
    }
    keep.push_back(static_cast<int64_t>(i));
  }
  return {gather(x, static_cast<int>(axis), keep)};
}

// -- NonZero
// -----------------------------------------------------------------------------------------

std::vector<TensorType> infer_non_zero(const Node&, Operands in) {
  return {{DType::kI64, {static_cast<int64_t>(in[0].shape().size()), -1}}};
}

/// One column of coordinates for each element that is not zero.
std::vector<Tensor> eval_non_zero(const Node&, std::span<const Tensor* const> in) {
  const Tensor truth = cast(*in[0], DType::kBool);
  std::vector<int64_t> found;
  const std::span<const bool> flags = truth.data<bool>();
  for (size_t i = 0; i < flags.size(); ++i) {
    if (flags[i]) found.push_back(static_cast<int64_t>(i));
  }
  const Shape& shape = truth.shape();
  const std::vector<int64_t> strides = row_strides(shape);
  std::vector<int64_t> columns;
  for (size_t a = 0; a < shape.size(); ++a) {
    for (int64_t offset : found) columns.push_back(offset / strides[a] % shape[a]);
  }
  return {
      Tensor({static_cast<int64_t>(shape.size()), static_cast<int64_t>(found.size())}, columns)};
}

// -- OneHot
// ------------------------------------------------------------------------------------------

int64_t depth_of(const Tensor& depth) {
  const Tensor wide = cast(depth, DType::kI64);
  if (wide.size() != 1 || wide.data<int64_t>()[0] < 0)
    throw Error(ErrorKind::kInput, "depth must be one integer that is not negative");
  return wide.data<int64_t>()[0];
}

Shape hot_shape(const Node& node, const Shape& indices, int64_t depth) {
  Shape shape = indices;
  const size_t axis = axis_attribute(node, -1, indices.size() + 1);
  shape.insert(shape.begin() + static_cast<ptrdiff_t>(axis), depth);
  return shape;
}

std::vector<TensorType> infer_one_hot(const Node& node, Operands in) {
  const int64_t depth = in[1].value ? depth_of(*in[1].value) : -1;
  return {{in[2].type->dtype, hot_shape(node, in[0].shape(), depth)}};
}

std::vector<Tensor> eval_one_hot(const Node& node, std::span<const Tensor* const> in) {
  const int64_t depth = depth_of(*in[1]);
  if (in[2]->size() != 2) throw Error(ErrorKind::kInput, "values must be an off and an on value");
  const Shape& shape = in[0]->shape();
  const size_t axis = axis_attribute(node, -1, shape.size() + 1);
  const int64_t inner = extent_product(shape, axis, shape.size());
  const Tensor wide = cast(*in[0], DType::kI64);
  const std::span<const int64_t> indices = wide.data<int64_t>();
  const Tensor values = in[2]->reshaped({2});
  return {move_elements(values, [&](const Tensor& pair) {
    Tensor y = strided_copy(pair, 0, hot_shape(node, shape, depth),
                            std::vector<int64_t>(shape.size() + 1, 0));
    const size_t size = element_size(pair.dtype());
    std::byte* to = y.mutable_bytes().data();
    for (size_t i = 0; i < indices.size(); ++i) {
      const int64_t hot = indices[i] < 0 ? indices[i] + depth : indices[i];
      if (hot < 0 || hot >= depth) continue;  // All off.
      const auto position = static_cast<int64_t>(i);
      const int64_t offset = (position / inner * depth + hot) * inner + position % inner;
      std::memcpy(to + static_cast<size_t>(offset) * size, pair.bytes().data() + size, size);
    }
    return y;
  })};
}

// -- Unique
// ------------------------------------------------------------------------------------------

std::vector<TensorType> infer_unique(const Node& node, Operands in) {
  TensorType type = *in[0].type;
  if (node.has_attribute("axis")) {
    type.shape[axis_attribute(node, 0, type.shape.size())] = -1;
  } else {
    type.shape = {-1};
  }
  const TensorType list = {DType::kI64, {-1}};
  return {type, list, list, list};
}

/// Orders slices of a matrix whose rows they are.
template <typename T>
bool row_before(std::span<const T> data, size_t width, int64_t a, int64_t b) {
  const auto row = [&](int64_t i) { return data.subspan(static_cast<size_t>(i) * width, width); };
  return std::ranges::lexicographical_compare(row(a), row(b));
}

/// For each row the first row equal to it.
template <typename T>
std::vector<int64_t> first_equals(std::span<const T> data, size_t width, int64_t rows,
                                  std::vector<int64_t>& by_value) {
  std::vector<int64_t> order(static_cast<size_t>(rows)), first(order.size());
  std::iota(order.begin(), order.end(), int64_t{0});
  const auto before = [&](int64_t a, int64_t b) { return row_before(data, width, a, b); };
  std::ranges::stable_sort(order, before);
  for (size_t i = 0; i < order.size(); ++i) {
    const bool repeats = i > 0 && !before(order[i - 1], order[i]);
    if (!repeats) by_value.push_back(order[i]);
    first[static_cast<size_t>(order[i])] = by_value.back();
  }
  return first;
}

Tensor list_of(const std::vector<int64_t>& values) {
  return Tensor({static_cast<int64_t>(values.size())}, values);
}

std::vector<Tensor> eval_unique(const Node& node, std::span<const Tensor* const> in) {
  const bool flat = !node.has_attribute("axis");
  const Tensor x = flat ? in[0]->reshaped({in[0]->size()}) : *in[0];
  const size_t axis = flat ? 0 : axis_attribute(node, 0, x.shape().size());
  std::vector<size_t> order(x.shape().size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::swap(order[0], order[axis]);
  const int64_t rows = x.shape()[axis];
  const auto width = static_cast<size_t>(rows == 0 ? 0 : x.size() / rows);

  std::vector<int64_t> kept, first;  // Rows of distinct content; for each row the one it equals.
  if (x.dtype() == DType::kString) {
    if (axis != 0) throw Error(ErrorKind::kUnsupported, "strings are told apart on axis 0 only");
    first = first_equals(std::span<const std::string>(x.strings()), width, rows, kept);
  } else {
    const Tensor matrix = transposed(x, order);
    visit_dtype(x.dtype(), [&]<typename T>() {
      if constexpr (std::is_arithmetic_v<T>)
        first = first_equals(matrix.data<T>(), width, rows, kept);
    });
  }
  if (node.attribute<int64_t>("sorted", 1) == 0) std::ranges::sort(kept);
  std::map<int64_t, int64_t> place;
  for (size_t i = 0; i < kept.size(); ++i) place[kept[i]] = static_cast<int64_t>(i);
  std::vector<int64_t> inverse, counts(kept.size(), 0);
  for (int64_t row : first) {
    inverse.push_back(place[row]);
    ++counts[static_cast<size_t>(inverse.back())];
  }
  return {gather(x, static_cast<int>(axis), kept), list_of(kept), list_of(inverse),
          list_of(counts)};
}

}  // namespace

extern const OpDef kCompress;
constinit const OpDef kCompress = {.name = "Compress",
                                   .min_inputs = 2,
                                   .max_inputs = 2,
                                   .infer = infer_compress,
                                   .eval = eval_compress,
                                   .native_half = true,
                                   .quant = Quant::kPassThrough};

extern const OpDef kNonZero;
constinit const OpDef kNonZero = {
    .name = "NonZero", .infer = infer_non_zero, .eval = eval_non_zero, .native_half = true};

extern const OpDef kOneHot;
constinit const OpDef kOneHot = {.name = "OneHot",
                                 .min_inputs = 3,
                                 .max_inputs = 3,
                                 .infer = infer_one_hot,
                                 .eval = eval_one_hot,
                                 .native_half = true};

extern const OpDef kUnique;
constinit const OpDef kUnique = {.name = "Unique", .infer = infer_unique, .eval = eval_unique};

}  // namespace pare
