#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace pare {

/// Element types of ONNX (TensorProto.DataType, in another order).
///
/// Four-bit and two-bit types are kept unpacked in memory, one element a byte; files pack them.
/// Strings live outside the byte storage. Float8 and complex types are carried, not computed with.
enum class DType : uint8_t {
  kUndefined,
  kF32,
  kF64,
  kF16,
  kBF16,
  kI8,
  kI16,
  kI32,
  kI64,
  kU8,
  kU16,
  kU32,
  kU64,
  kBool,
  kString,
  kI4,
  kU4,
  kI2,
  kU2,
  kF8E4M3FN,
  kF8E4M3FNUZ,
  kF8E5M2,
  kF8E5M2FNUZ,
  kF8E8M0,
  kF4E2M1,
  kComplex64,
  kComplex128,
};

/// Short name: "f32", "i64", "bool".
std::string_view to_string(DType dtype);
/// Bytes of one element in memory; 0 for kUndefined and kString.
size_t element_size(DType dtype);
/// Bits of one element in a file: 4 for kI4, 32 for kF32. What weight and activation bytes count.
int bit_width(DType dtype);
bool is_float(DType dtype);    ///< kF32, kF64, kF16, kBF16.
bool is_integer(DType dtype);  ///< Signed and unsigned, two to 64 bits; not bool.

/// Extents, outermost first. -1 is an extent that cannot be known before running (a count of
/// detections, say); a symbolic batch is bound to a number when a model is imported.
using Shape = std::vector<int64_t>;

/// Product of the extents. Throws Error(kInput) where it overflows or an extent is unknown.
int64_t element_count(const Shape& shape);
/// "[1,3,224,224]"; an unknown extent prints as "?".
std::string to_string(const Shape& shape);

/// Element type and extents.
struct TensorType {
  DType dtype = DType::kUndefined;
  Shape shape;
  bool ranked = true;  ///< False: nothing is known about the shape.

  /// True when every extent is known.
  bool known() const;
  static TensorType unknown(DType dtype = DType::kUndefined) { return {dtype, {}, false}; }
  bool operator==(const TensorType&) const = default;
};

/// "f32[1,3,224,224]", "i64[?]", "f32[...]" without a rank.
std::string to_string(const TensorType& type);

}  // namespace pare
