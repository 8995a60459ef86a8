// Operators that make values: Constant, ConstantOfShape, EyeLike, Range.
// https://onnx.ai/onnx/operators/onnx__Constant.html and its like.

#include <cmath>

#include "ir/graph.h"
#include "ops/elementwise.h"
#include "ops/onnx_dtype.h"
#include "ops/rows.h"

namespace pare {
namespace {

using Tensors = std::span<const Tensor* const>;

// -- Constant --------------------------------------------------------------------

template <typename T>
Tensor list_of(const std::vector<T>& values) {
  return Tensor({static_cast<int64_t>(values.size())}, values);
}

Tensor constant_of(const Node& node) {
  if (node.has_attribute("value")) {
    const TensorRef value = node.attribute<TensorRef>("value", nullptr);
    if (value) return *value;
  }
  if (node.has_attribute("value_int"))
    return Tensor::scalar(node.attribute<int64_t>("value_int", 0));
  if (node.has_attribute("value_float")) return Tensor::scalar(node.attribute("value_float", 0.0f));
  if (node.has_attribute("value_string"))
    return Tensor::of_strings({}, {node.attribute("value_string", "")});
  if (node.has_attribute("value_ints"))
    return list_of(node.attribute<std::vector<int64_t>>("value_ints", {}));
  if (node.has_attribute("value_floats"))
    return list_of(node.attribute<std::vector<float>>("value_floats", {}));
  if (node.has_attribute("value_strings")) {
    std::vector<std::string> strings =
        node.attribute<std::vector<std::string>>("value_strings", {});
    const auto count = static_cast<int64_t>(strings.size());
    return Tensor::of_strings({count}, std::move(strings));
  }
  throw Error(ErrorKind::kUnsupported,
              "has no value that is dense (sparse_value is not supported)");
}

std::vector<TensorType> infer_constant(const Node& node, Operands) {
  return {constant_of(node).type()};
}

std::vector<Tensor> eval_constant(const Node& node, Tensors) { return {constant_of(node)}; }

// -- ConstantOfShape -------------------------------------------------------------

/// The one element that is repeated.
Tensor fill_value(const Node& node) {
  const TensorRef value = node.attribute<TensorRef>("value", nullptr);
  if (!value) return Tensor::scalar(0.0f);
  if (value->size() != 1)
    throw Error(ErrorKind::kInput, "attribute value is " + to_string(value->type()) +
                                       ", but must be a single element");
  return value->reshaped({});
}

Shape checked_shape(const Tensor& tensor) {
  Shape shape = to_int64(tensor);
  for (int64_t extent : shape) {
    if (extent < 0)
      throw Error(ErrorKind::kInput,
                  "shape has extent " + std::to_string(extent) + ", but must not be negative");
  }
  return shape;
}

std::vector<TensorType> infer_constant_of_shape(const Node& node, Operands in) {
  const DType dtype = fill_value(node).dtype();
  if (in[0].value) return {{dtype, checked_shape(*in[0].value)}};
  if (in[0].shape().size() != 1)
    throw Error(ErrorKind::kInput,
                "shape operand is " + to_string(*in[0].type) + ", but must be a list of integers");
  constexpr int64_t kMaxRank = 64;  // Far beyond any real tensor; a bound on what is allocated.
  const int64_t rank = in[0].shape()[0];
  if (rank > kMaxRank) return {TensorType::unknown(dtype)};
  return {{dtype, Shape(static_cast<size_t>(rank), -1)}};
}

std::vector<Tensor> eval_constant_of_shape(const Node& node, Tensors in) {
  return {broadcast_to(fill_value(node), checked_shape(*in[0]))};
}

// -- EyeLike ---------------------------------------------------------------------

std::vector<TensorType> infer_eye_like(const Node& node, Operands in) {
  if (in[0].shape().size() != 2)
    throw Error(ErrorKind::kInput,
                "operand is " + to_string(*in[0].type) + ", but must be a matrix");
  return {{dtype_attribute(node, "dtype", in[0].type->dtype), in[0].shape()}};
}

std::vector<Tensor> eval_eye_like(const Node& node, Tensors in) {
  const TensorType type = infer_eye_like(node, as_operands(in))[0];
  const int64_t k = node.attribute<int64_t>("k", 0);
  const int64_t rows = type.shape[0], columns = type.shape[1];
  Tensor ones(DType::kU8, type.shape);
  const std::span<uint8_t> data = ones.mutable_data<uint8_t>();
  for (int64_t row = 0; row < rows && k < columns && k > -rows; ++row) {
    const int64_t column = row + k;
    if (column >= 0 && column < columns) data[static_cast<size_t>(row * columns + column)] = 1;
  }
  return {cast(ones, type.dtype)};
}

// -- Range -----------------------------------------------------------------------

template <typename T>
T scalar_of(const Tensor& tensor) {
  if (tensor.size() != 1)
    throw Error(ErrorKind::kInput,
                "operand is " + to_string(tensor.type()) + ", but must be a single number");
  return tensor.data<T>()[0];
}

/// How many of start, start + delta, ... lie before limit.
template <typename T>
int64_t range_count(T start, T limit, T delta) {
  if (delta == T{0}) throw Error(ErrorKind::kInput, "delta is 0, so the range has no end");
  if (delta > T{0} ? !(start < limit) : !(start > limit)) return 0;
  if constexpr (std::is_floating_point_v<T>) {
    const double count = std::ceil((static_cast<double>(limit) - static_cast<double>(start)) /
                                   static_cast<double>(delta));
    if (!(count < 1e15)) throw Error(ErrorKind::kInput, "the range has too many elements");
    return static_cast<int64_t>(count);
  } else {  // Unsigned, because the distance may exceed the largest signed number.
    const auto distance = [](T from, T to) {
      return static_cast<uint64_t>(to) - static_cast<uint64_t>(from);
    };
    const uint64_t span = delta > T{0} ? distance(start, limit) : distance(limit, start);
    const uint64_t step = delta > T{0} ? distance(T{0}, delta) : distance(delta, T{0});
    const uint64_t count = (span - 1) / step + 1;
    if (count > uint64_t{1} << 46)
      throw Error(ErrorKind::kInput, "the range has too many elements");
    return static_cast<int64_t>(count);
  }
}

std::vector<Tensor> eval_range(const Node&, Tensors in) {
  if (in[0]->dtype() != in[1]->dtype() || in[0]->dtype() != in[2]->dtype())
    throw Error(ErrorKind::kInput, "start, limit and delta must have one element type");
  return {visit_number(in[0]->dtype(), [&]<typename T>() {
    const T start = scalar_of<T>(*in[0]), delta = scalar_of<T>(*in[2]);
    const int64_t count = range_count(start, scalar_of<T>(*in[1]), delta);
    Tensor y = Tensor::uninitialized(in[0]->dtype(), {count});
    const std::span<T> data = y.mutable_data<T>();
    for (size_t i = 0; i < data.size(); ++i) {
      if constexpr (std::is_floating_point_v<T>) {
        data[i] = start + static_cast<T>(i) * delta;
      } else {
        data[i] = static_cast<T>(static_cast<uint64_t>(start) + i * static_cast<uint64_t>(delta));
      }
    }
    return y;
  })};
}

std::vector<TensorType> infer_range(const Node&, Operands in) {
  require_one_dtype(in);
  const DType dtype = in[0].type->dtype;
  if (!in[0].value || !in[1].value || !in[2].value) return {{dtype, {-1}}};
  const auto count = [&](DType as) {
    return visit_number(as, [&]<typename T>() {
      const auto number = [&](size_t i) { return scalar_of<T>(cast(*in[i].value, as)); };
      return range_count(number(0), number(1), number(2));
    });
  };
  const bool half = is_float(dtype) && dtype != DType::kF32 && dtype != DType::kF64;
  return {{dtype, {count(half ? DType::kF32 : dtype)}}};
}

}  // namespace

constinit const OpDef kConstant = {.name = "Constant",
                                   .min_inputs = 0,
                                   .max_inputs = 0,
                                   .infer = infer_constant,
                                   .eval = eval_constant,
                                   .native_half = true};
constinit const OpDef kConstantOfShape = {.name = "ConstantOfShape",
                                          .infer = infer_constant_of_shape,
                                          .eval = eval_constant_of_shape,
                                          .native_half = true};
constinit const OpDef kEyeLike = {.name = "EyeLike",
                                  .infer = infer_eye_like,
                                  .eval = eval_eye_like,
                                  .native_half = true,
                                  .reads_only_types = true};
constinit const OpDef kRange = {
    .name = "Range", .min_inputs = 3, .max_inputs = 3, .infer = infer_range, .eval = eval_range};

}  // namespace pare
