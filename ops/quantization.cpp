#include "ops/quantization.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "ir/channel_slots.h"
#include "ops/broadcast.h"
#include "ops/visit.h"

namespace pare {

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

Tensor scale_of(const Tensor& scale) {
  if (!is_float(scale.dtype())) reject_dtype(scale.dtype(), "a float as scale");
  return cast(scale, DType::kF32);
}

Tensor zero_point_of(const Tensor* zero_point) {
  if (!zero_point) return Tensor::scalar(int32_t{0});
  if (!is_integer(zero_point->dtype()) || bit_width(zero_point->dtype()) > 32)
    reject_dtype(zero_point->dtype(), "an integer of at most 32 bits as zero point");
  return cast(*zero_point, DType::kI32);
}

float one_scale(const Tensor& scale) {
  if (scale.size() != 1)
    throw Error(ErrorKind::kInput, "a scale is " + to_string(scale.type()) + ", expected a scalar");
  return scale_of(scale).data<float>()[0];
}

int32_t one_zero_point(const Tensor* zero_point) {
  if (!zero_point) return 0;
  if (!is_int8(zero_point->dtype()))
    reject_dtype(zero_point->dtype(), "int8 or uint8 as zero point");
  if (zero_point->size() != 1)
    throw Error(ErrorKind::kInput,
                "a zero point is " + to_string(zero_point->type()) + ", expected a scalar");
  return zero_point_of(zero_point).data<int32_t>()[0];
}

Tensor along_axis(const Tensor& parameter, size_t axis, size_t rank) {
  if (parameter.size() == 1) return parameter.reshaped({});
  if (parameter.shape().size() != 1 || axis >= rank) return parameter;
  Shape shape(rank, 1);
  shape[axis] = parameter.size();
  return parameter.reshaped(std::move(shape));
}

Tensor centered(const Tensor& q, const Tensor& zero_point, DType dtype) {
  Tensor result = Tensor::uninitialized(dtype, q.shape());
  visit_quantized(q.dtype(), [&]<typename Q>() {
    visit_float(dtype, [&]<typename T>() {
      broadcast_apply<Q, int32_t, T>(q, zero_point, result, [](Q a, int32_t zero) {
        return static_cast<T>(a) - static_cast<T>(zero);
      });
    });
  });
  return result;
}

DType exact_float(double bound) {
  constexpr double kFloatIntegers = 1 << std::numeric_limits<float>::digits;
  return bound <= kFloatIntegers ? DType::kF32 : DType::kF64;
}

double largest_centered(DType dtype, int32_t zero_point) {
  const IntegerRange range = integer_range(dtype);
  return std::max(std::abs(static_cast<double>(range.low) - zero_point),
                  std::abs(static_cast<double>(range.high) - zero_point));
}

Tensor requantize(const Tensor& accumulator, const Tensor& multiplier, int32_t zero_point,
                  DType dtype) {
  const Quantizer quantizer(integer_range(dtype), 1.0f, zero_point);
  Tensor result = Tensor::uninitialized(dtype, accumulator.shape());
  visit_quantized(dtype, [&]<typename Q>() {
    broadcast_apply<int32_t, float, Q>(
        accumulator, multiplier, result, [=](int32_t sum, float factor) {
          return static_cast<Q>(quantizer.round(static_cast<float>(sum) * factor));
        });
  });
  return result;
}

void require_operands(Operands in, std::span<const size_t> slots) {
  for (size_t slot : slots) {
    if (slot >= in.size() || !in[slot])
      throw Error(ErrorKind::kInput, "input " + std::to_string(slot) + " is required but left out");
  }
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
  if (shape.size() == 1 && shape[0] > 1 &&
      shape[0] == graph.shape(value)[static_cast<size_t>(axis)]) {
    slots.tie({parameter, 0}, {value, axis});
  } else if (element_count(shape) != 1) {
    slots.fix({value, axis});
  }
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
