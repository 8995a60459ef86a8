#pragma once

#include <bit>
#include <cstdint>
#include <span>

#include "ir/graph.h"
#include "ir/op.h"

namespace pare {

class ChannelSlots;

// Affine quantization, real = (q - zero_point) * scale, as the QuantizeLinear family has it.

/// Smallest and largest number of an integer type of 2 to 32 bits.
struct IntegerRange {
  int32_t low, high;
};
/// Throws Error(kUnsupported) for types that are not quantized to (float8 among them).
IntegerRange integer_range(DType dtype);
inline bool is_int8(DType dtype) { return dtype == DType::kI8 || dtype == DType::kU8; }

/// round(x / scale) + zero_point with halves to even, saturated; without a branch or a call, so
/// that a loop over it becomes vector code. NaN gives the lowest number.
class Quantizer {
 public:
  Quantizer(IntegerRange range, float scale, int32_t zero_point)
      : scale_(scale),
        low_(static_cast<float>(range.low - zero_point)),
        high_(static_cast<float>(range.high - zero_point)),
        zero_point_(zero_point) {}

  int32_t operator()(float x) const { return round(x / scale_); }
  /// For an x that is in units of the scale already.
  int32_t round(float x) const {
    constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer.
    const float raised = x > low_ ? x : low_;
    const float limited = raised < high_ ? raised : high_;
    return std::bit_cast<int32_t>(limited + kRound) - std::bit_cast<int32_t>(kRound) + zero_point_;
  }

 private:
  float scale_, low_, high_;
  int32_t zero_point_;
};

/// A scale as f32 in its own shape. Throws Error(kInput) for other types than floats.
Tensor scale_of(const Tensor& scale);
/// A zero point as i32 in its own shape; a scalar 0 where it is left out.
Tensor zero_point_of(const Tensor* zero_point);
/// The one scale of a tensor. Throws Error(kInput) where there are more.
float one_scale(const Tensor& scale);
/// The one zero point of an int8 or uint8 tensor, 0 where it is left out. Throws Error(kInput) for
/// another type, or more of them.
int32_t one_zero_point(const Tensor* zero_point);

/// A parameter in a shape that broadcasts to a tensor of `rank`: a list lies along `axis`, a single
/// number everywhere, anything else is left as it is.
Tensor along_axis(const Tensor& parameter, size_t axis, size_t rank);

/// q - zero_point as float or double (`dtype`); exact. `zero_point` is i32 and broadcasts to q.
Tensor centered(const Tensor& q, const Tensor& zero_point, DType dtype);

/// The narrowest of float and double in which sums of products add up exactly, in any order, when
/// every sum of absolute products is at most `bound`.
DType exact_float(double bound);
/// Largest |q - zero_point| that a q of this type can have.
double largest_centered(DType dtype, int32_t zero_point);

/// round(accumulator * multiplier) + zero_point, saturated to `dtype`: what an integer Conv or
/// MatMul does with its i32 sums. `multiplier` is f32 and broadcasts to them.
Tensor requantize(const Tensor& accumulator, const Tensor& multiplier, int32_t zero_point,
                  DType dtype);

/// Throws Error(kInput) when one of the operands `slots` is left out.
void require_operands(Operands in, std::span<const size_t> slots);
/// Throws Error(kInput) unless a scale or zero point operand holds one number, or a list of
/// `extent` of them (where `extent` > 0). Left out operands pass.
void check_parameter(Operands in, size_t slot, int64_t extent);

/// Ties a scale or zero point with one entry for each index of an axis of `value` to that axis; one
/// number is left alone, anything else keeps the axis as it is.
void tie_parameter(const Graph& graph, const Node& node, size_t slot, ValueId value, int axis,
                   ChannelSlots& slots);

/// `node` with operands `slots` of its own only: how QLinearConv borrows the rules of Conv.
Node with_inputs(const Node& node, std::span<const size_t> slots);

}  // namespace pare
