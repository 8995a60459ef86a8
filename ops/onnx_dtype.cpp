#include "ops/onnx_dtype.h"

#include <iterator>

namespace pare {
namespace {

/// By number. https://github.com/onnx/onnx/blob/main/onnx/onnx.proto, TensorProto.DataType.
constexpr DType kByCode[] = {
    DType::kUndefined,  DType::kF32,  DType::kU8,       DType::kI8,         DType::kU16,
    DType::kI16,        DType::kI32,  DType::kI64,      DType::kString,     DType::kBool,
    DType::kF16,        DType::kF64,  DType::kU32,      DType::kU64,        DType::kComplex64,
    DType::kComplex128, DType::kBF16, DType::kF8E4M3FN, DType::kF8E4M3FNUZ, DType::kF8E5M2,
    DType::kF8E5M2FNUZ, DType::kU4,   DType::kI4,       DType::kF4E2M1,     DType::kF8E8M0,
    DType::kU2,         DType::kI2,
};

}  // namespace

DType dtype_from_onnx(int64_t code) {
  if (code == 0) throw Error(ErrorKind::kInput, "an element type is given as 0, undefined");
  if (code < 0 || code >= static_cast<int64_t>(std::size(kByCode)))
    throw Error(ErrorKind::kUnsupported, "element type " + std::to_string(code) + " is not known");
  return kByCode[code];
}

DType dtype_attribute(const Node& node, std::string_view name, DType fallback) {
  const int64_t code = node.attribute<int64_t>(name, 0);
  return code == 0 ? fallback : dtype_from_onnx(code);
}

}  // namespace pare
