#include "ops/quantization.h"

#include "ir/channel_slots.h"
#include "ops/axes.h"
#include "ops/visit.h"

namespace pare {
namespace {

/// Runs `body(index of axis, first element, elements)` over the slices of `shape` along `axis`.
template <typename Body>
void for_each_slice(const Shape& shape, size_t axis, bool single, Body&& body) {
  if (single) {
    body(size_t{0}, int64_t{0}, element_count(shape));
    return;
  }
  const int64_t outer = extent_product(shape, 0, axis), extent = shape[axis];
  const int64_t inner = extent_product(shape, axis + 1, shape.size());
  for (int64_t i = 0; i < outer * extent; ++i)
    body(static_cast<size_t>(i % extent), i * inner, inner);
}

void check_count(size_t count, const Shape& shape, size_t axis, const char* what) {
  if (count == 1 || (axis < shape.size() && static_cast<int64_t>(count) == shape[axis])) return;
  throw Error(ErrorKind::kInput, "has " + std::to_string(count) + " " + what + " for axis " +
                                     std::to_string(axis) + " of " + to_string(shape) +
                                     ", expected one or one for each index");
}

}  // namespace

IntegerRange integer_range(DType dtype) {
  if (!is_integer(dtype) || bit_width(dtype) > 16) {
    throw Error(ErrorKind::kUnsupported,
                "quantization to " + std::string(to_string(dtype)) + " is not supported");
  }
  const int32_t count = int32_t{1} << bit_width(dtype);
  const bool is_signed =
      dtype == DType::kI8 || dtype == DType::kI16 || dtype == DType::kI4 || dtype == DType::kI2;
  return is_signed ? IntegerRange{-count / 2, count / 2 - 1} : IntegerRange{0, count - 1};
}

std::vector<float> scales_of(const Tensor& scale) {
  if (!is_float(scale.dtype()))
    throw Error(ErrorKind::kInput, "a scale is " + to_string(scale.type()) + ", expected floats");
  const Tensor wide = cast(scale, DType::kF32);
  return {wide.data<float>().begin(), wide.data<float>().end()};
}

std::vector<int32_t> zero_points_of(const Tensor* zero_point, size_t count) {
  if (!zero_point) return std::vector<int32_t>(count, 0);
  if (!is_integer(zero_point->dtype()) || bit_width(zero_point->dtype()) > 32)
    reject_dtype(zero_point->dtype(), "an integer of at most 32 bits as zero point");
  const Tensor wide = cast(*zero_point, DType::kI32);
  return {wide.data<int32_t>().begin(), wide.data<int32_t>().end()};
}

float one_scale(const Tensor& scale) {
  const std::vector<float> scales = scales_of(scale);
  if (scales.size() != 1)
    throw Error(ErrorKind::kInput, "a scale is " + to_string(scale.type()) + ", expected a scalar");
  return scales[0];
}

int32_t one_zero_point(const Tensor* zero_point) {
  const std::vector<int32_t> values = zero_points_of(zero_point, 1);
  if (values.size() != 1)
    throw Error(ErrorKind::kInput,
                "a zero point is " + to_string(zero_point->type()) + ", expected a scalar");
  return values[0];
}

Tensor centered(const Tensor& q, const Tensor* zero_point, size_t axis, DType dtype) {
  const std::vector<int32_t> zeros = zero_points_of(zero_point, 1);
  check_count(zeros.size(), q.shape(), axis, "zero points");
  Tensor result = Tensor::uninitialized(dtype, q.shape());
  visit_quantized(q.dtype(), [&]<typename Q>() {
    const Q* from = q.data<Q>().data();
    const auto run = [&]<typename T>(T* to) {
      for_each_slice(q.shape(), axis, zeros.size() == 1,
                     [&](size_t index, int64_t first, int64_t count) {
                       const T zero = static_cast<T>(zeros[index]);
                       for (int64_t i = first; i < first + count; ++i)
                         to[i] = static_cast<T>(from[i]) - zero;
                     });
    };
    if (dtype == DType::kF32) {
      run(result.mutable_data<float>().data());
    } else {
      run(result.mutable_data<double>().data());
    }
  });
  return result;
}

Tensor requantize(const Tensor& accumulator, std::span<const float> multipliers, size_t axis,
                  int32_t zero_point, DType dtype) {
  check_count(multipliers.size(), accumulator.shape(), axis, "scales");
  const Quantizer quantizer(integer_range(dtype), 1.0f, zero_point);
  Tensor result = Tensor::uninitialized(dtype, accumulator.shape());
  const int32_t* from = accumulator.data<int32_t>().data();
  visit_quantized(dtype, [&]<typename Q>() {
    Q* to = result.mutable_data<Q>().data();
    for_each_slice(accumulator.shape(), axis, multipliers.size() == 1,
                   [&](size_t index, int64_t first, int64_t count) {
                     const float factor = multipliers[index];
                     for (int64_t i = first; i < first + count; ++i)
                       to[i] =
                           static_cast<Q>(quantizer.round(static_cast<float>(from[i]) * factor));
                   });
  });
  return result;
}

void check_parameter(Operands in, size_t slot, int64_t extent) {
  if (slot >= in.size() || !in[slot]) return;
  const Shape& shape = in[slot].shape();
  const bool fits = shape.empty() || (shape.size() == 1 && (shape[0] == 1 || shape[0] == extent));
  if (fits) return;
  throw Error(ErrorKind::kInput,
              "input " + std::to_string(slot) + " is " + to_string(*in[slot].type) +
                  ", expected a scalar" +
                  (extent > 0 ? " or " + std::to_string(extent) + " of them" : std::string()));
}

void tie_parameter(const Graph& graph, const Node& node, size_t slot, ValueId value, int axis,
                   ChannelSlots& slots) {
  if (!node.has_input(slot)) return;
  const ValueId parameter = node.inputs[slot];
  const Shape& shape = graph.shape(parameter);
  const int64_t extent = graph.shape(value)[static_cast<size_t>(axis)];
  if (shape.size() == 1 && shape[0] > 1 && shape[0] == extent)
    slots.tie({parameter, 0}, {value, axis});
  slots.fix_rest(parameter);
}

Node with_inputs(const Node& node, std::span<const size_t> slots) {
  Node result = node;
  result.inputs.clear();
  for (size_t slot : slots)
    result.inputs.push_back(slot < node.inputs.size() ? node.inputs[slot] : kNoValue);
  while (!result.inputs.empty() && result.inputs.back() == kNoValue) result.inputs.pop_back();
  return result;
}

}  // namespace pare
