#pragma once

#include <cstdint>
#include <string>

#include "support/error.h"
#include "tensor/types.h"

namespace pare {

// Dispatch over the element types a rule computes with. Float16 and bfloat16 are not among them:
// the interpreter widens them to float (OpDef::eval). Each calls `body.operator()<T>()` and throws
// Error(kInput) for a type outside its set.

[[noreturn]] inline void reject_dtype(DType dtype, const char* expected) {
  throw Error(ErrorKind::kInput, "an operand has element type " + std::string(to_string(dtype)) +
                                     ", but the operator takes " + expected);
}

/// float, double.
template <typename Body>
decltype(auto) visit_float(DType dtype, Body&& body) {
  if (dtype == DType::kF32) return body.template operator()<float>();
  if (dtype == DType::kF64) return body.template operator()<double>();
  reject_dtype(dtype, "floats");
}

/// int8_t to int64_t and uint8_t to uint64_t; no narrower ones.
template <typename Body>
decltype(auto) visit_integer(DType dtype, Body&& body) {
  switch (dtype) {
    case DType::kI8:
      return body.template operator()<int8_t>();
    case DType::kI16:
      return body.template operator()<int16_t>();
    case DType::kI32:
      return body.template operator()<int32_t>();
    case DType::kI64:
      return body.template operator()<int64_t>();
    case DType::kU8:
      return body.template operator()<uint8_t>();
    case DType::kU16:
      return body.template operator()<uint16_t>();
    case DType::kU32:
      return body.template operator()<uint32_t>();
    case DType::kU64:
      return body.template operator()<uint64_t>();
    default:
      reject_dtype(dtype, "integers");
  }
}

/// What tensors are quantized to, as it is stored: int8_t (narrower ones too), int16_t, int32_t,
/// uint8_t (narrower ones too), uint16_t.
template <typename Body>
decltype(auto) visit_quantized(DType dtype, Body&& body) {
  switch (dtype) {
    case DType::kI8:
    case DType::kI4:
    case DType::kI2:
      return body.template operator()<int8_t>();
    case DType::kU8:
    case DType::kU4:
    case DType::kU2:
      return body.template operator()<uint8_t>();
    case DType::kI16:
      return body.template operator()<int16_t>();
    case DType::kU16:
      return body.template operator()<uint16_t>();
    case DType::kI32:
      return body.template operator()<int32_t>();
    default:
      reject_dtype(dtype, "quantized integers of at most 32 bits");
  }
}

/// float, double and the integers of 8 to 64 bits.
template <typename Body>
decltype(auto) visit_number(DType dtype, Body&& body) {
  switch (dtype) {
    case DType::kF32:
      return body.template operator()<float>();
    case DType::kF64:
      return body.template operator()<double>();
    case DType::kI8:
    case DType::kI16:
    case DType::kI32:
    case DType::kI64:
    case DType::kU8:
    case DType::kU16:
    case DType::kU32:
    case DType::kU64:
      return visit_integer(dtype, body);
    default:
      reject_dtype(dtype, "numbers");
  }
}

}  // namespace pare
