#pragma once

#include <cstdint>
#include <vector>

#include "calib/observer.h"
#include "tensor/tensor.h"

namespace pare {

/// An affine code of a whole tensor: x = scale * (q - zero_point).
struct ActivationCode {
  DType dtype = DType::kU8;  ///< kU8, kI8, kU16 or kI16.
  float scale = 1;
  int32_t zero_point = 0;
};

/// The code that represents `range`, widened to hold 0 exactly, in all levels; symmetric ones
/// have the zero point in the middle (128, 0) and leave out the lowest level.
///
/// A range that begins or ends at 0 is not exceeded, not by rounding either: ONNX Runtime drops a
/// Clip before a QuantizeLinear only when the code lies within its bounds.
ActivationCode activation_code(Range range, DType dtype, bool symmetric);

/// `tensor` (float32) in `code`.
Tensor encode(const Tensor& tensor, const ActivationCode& code);

/// Integers a weight may take.
struct WeightSteps {
  int bits = 8;
  int lowest = -127, highest = 127;
};

/// All integers of `bits` bits; of eight the lowest is left out, so that kernels that add products
/// of pairs cannot overflow. `reduced` leaves a bit of eight unused.
WeightSteps weight_steps(int bits, bool reduced);

/// Codes of a weight along one axis, or of all of it: w = scale[c] * q, zero point 0.
struct WeightCode {
  int axis = -1;  ///< -1: one scale for the whole tensor.
  std::vector<float> scales;
  WeightSteps steps;
};

/// The scales of least squared error; a channel of zeros gets the largest scale of the others.
WeightCode weight_code(const Tensor& weight, int axis, WeightSteps steps);

/// Raises scales until `bias[i] / (x_scale * scale)` fits an int32 beside the sum it is added to;
/// output channel i has scale i modulo their number. Returns true when it changed any.
bool make_room_for_bias(WeightCode& code, const std::vector<double>& bias, double x_scale);

/// The integers nearest to `weight` (float32) in `code`, as int8.
Tensor encode(const Tensor& weight, const WeightCode& code);

/// round(bias / scale) as int32.
Tensor encode_bias(const std::vector<double>& bias, const std::vector<float>& scales);

}  // namespace pare
