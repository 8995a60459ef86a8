#pragma once

#include <cstdint>

#include "ir/graph.h"
#include "tensor/types.h"

namespace pare {

/// The element type that ONNX numbers `code` (TensorProto.DataType), as attributes like Cast's `to`
/// do. Throws Error(kInput) for 0 and Error(kUnsupported) for a number this tool does not know.
DType dtype_from_onnx(int64_t code);

/// The same for attribute `name`, or `fallback` where it is left out or 0.
DType dtype_attribute(const Node& node, std::string_view name, DType fallback);

}  // namespace pare
