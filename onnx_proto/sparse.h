#pragma once

#include <onnx/onnx_pb.h>

#include "tensor/tensor.h"

namespace pare {

/// The dense form of a sparse tensor, in either of its index forms ([count] or [count, rank]).
/// Throws Error(kInput) for what does not fit together, Error(kUnsupported) where the dense form
/// would be out of proportion to the file (over 1 GiB).
Tensor densify(onnx::SparseTensorProto sparse);

}  // namespace pare
