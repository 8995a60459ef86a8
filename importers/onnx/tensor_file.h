#pragma once

#include <string>

#include "tensor/tensor.h"

namespace pare {

/// Reads a serialized TensorProto (.pb). Throws Error(kInput) naming file and fact.
Tensor read_tensor_pb(const std::string& path);

}  // namespace pare
