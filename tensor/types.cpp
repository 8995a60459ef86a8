#include "tensor/types.h"

#include <algorithm>

#include "support/error.h"

namespace pare {
namespace {

struct TypeInfo {
  std::string_view name;
  size_t bytes;
  int bits;
};

/// By enumerator.
constexpr TypeInfo kTypes[] = {
    {"undefined", 0, 0}, {"f32", 4, 32},       {"f64", 8, 64},
    {"f16", 2, 16},      {"bf16", 2, 16},      {"i8", 1, 8},
    {"i16", 2, 16},      {"i32", 4, 32},       {"i64", 8, 64},
    {"u8", 1, 8},        {"u16", 2, 16},       {"u32", 4, 32},
    {"u64", 8, 64},      {"bool", 1, 8},       {"string", 0, 0},
    {"i4", 1, 4},        {"u4", 1, 4},         {"i2", 1, 2},
    {"u2", 1, 2},        {"f8e4m3fn", 1, 8},   {"f8e4m3fnuz", 1, 8},
    {"f8e5m2", 1, 8},    {"f8e5m2fnuz", 1, 8}, {"f8e8m0", 1, 8},
    {"f4e2m1", 1, 4},    {"complex64", 8, 64}, {"complex128", 16, 128},
};

const TypeInfo& info(DType dtype) { return kTypes[static_cast<size_t>(dtype)]; }

}  // namespace

std::string_view to_string(DType dtype) { return info(dtype).name; }
size_t element_size(DType dtype) { return info(dtype).bytes; }
int bit_width(DType dtype) { return info(dtype).bits; }

bool is_float(DType dtype) { return dtype >= DType::kF32 && dtype <= DType::kBF16; }

bool is_integer(DType dtype) {
  return (dtype >= DType::kI8 && dtype <= DType::kU64) ||
         (dtype >= DType::kI4 && dtype <= DType::kU2);
}

int64_t element_count(const Shape& shape) {
  int64_t count = 1;
  for (int64_t extent : shape) {
    if (extent < 0)
      throw Error(ErrorKind::kInput, "shape " + to_string(shape) + " has an unknown extent");
    if (__builtin_mul_overflow(count, extent, &count))
      throw Error(ErrorKind::kInput, "shape " + to_string(shape) + " has too many elements");
  }
  return count;
}

std::string to_string(const Shape& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) {
    if (i) text += ",";
    text += shape[i] < 0 ? "?" : std::to_string(shape[i]);
  }
  return text + "]";
}

bool TensorType::known() const {
  return ranked && std::ranges::all_of(shape, [](int64_t extent) { return extent >= 0; });
}

std::string to_string(const TensorType& type) {
  return std::string(to_string(type.dtype)) + (type.ranked ? to_string(type.shape) : "[...]");
}

}  // namespace pare
