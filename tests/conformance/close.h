#pragma once

#include <string>

#include "tensor/tensor.h"

namespace pare::conformance {

/// How far `actual` may be from `expected`: |a - e| <= absolute + relative * |e|, as numpy's
/// assert_allclose.
struct Tolerance {
  double relative = 1e-3;  ///< ONNX's own backend test runner.
  double absolute = 1e-7;
};

/// Empty when `actual` equals `expected` (same type and shape; floats within tolerance, NaN equal
/// to NaN, everything else exactly), otherwise one clause saying what differs first.
std::string difference(const Tensor& expected, const Tensor& actual, Tolerance tolerance);

}  // namespace pare::conformance
