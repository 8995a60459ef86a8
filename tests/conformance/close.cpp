#include "conformance/close.h"

#include <cmath>

namespace pare::conformance {
namespace {

bool close(double expected, double actual, Tolerance tolerance) {
  if (std::isnan(expected) || std::isnan(actual)) return std::isnan(expected) && std::isnan(actual);
  if (std::isinf(expected) || std::isinf(actual)) return expected == actual;
  return std::abs(expected - actual) <=
         tolerance.absolute + tolerance.relative * std::abs(expected);
}

/// One rounding step of the narrow types is more than ONNX's tolerance.
Tolerance widened(DType dtype, Tolerance tolerance) {
  if (dtype == DType::kF16) tolerance.relative = std::max(tolerance.relative, 0x1p-9);
  if (dtype == DType::kBF16) tolerance.relative = std::max(tolerance.relative, 0x1p-6);
  return tolerance;
}

std::string compare_floats(const Tensor& expected, const Tensor& actual, Tolerance tolerance) {
  const Tensor a = cast(expected, DType::kF64), b = cast(actual, DType::kF64);
  const std::span<const double> want = a.data<double>(), got = b.data<double>();
  for (size_t i = 0; i < want.size(); ++i) {
    if (close(want[i], got[i], tolerance)) continue;
    return "element " + std::to_string(i) + " is " + std::to_string(got[i]) + ", expected " +
           std::to_string(want[i]);
  }
  return {};
}

}  // namespace

std::string difference(const Tensor& expected, const Tensor& actual, Tolerance tolerance) {
  if (expected.type() != actual.type())
    return "is " + to_string(actual.type()) + ", expected " + to_string(expected.type());
  if (is_float(expected.dtype()))
    return compare_floats(expected, actual, widened(expected.dtype(), tolerance));
  if (identical(expected, actual)) return {};
  if (!is_integer(expected.dtype())) return "differs from the expected one";
  const std::vector<int64_t> want = to_int64(expected), got = to_int64(actual);
  for (size_t i = 0; i < want.size(); ++i) {
    if (want[i] != got[i])
      return "element " + std::to_string(i) + " is " + std::to_string(got[i]) + ", expected " +
             std::to_string(want[i]);
  }
  return {};
}

}  // namespace pare::conformance
