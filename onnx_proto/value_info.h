#pragma once

#include <onnx/onnx_pb.h>

#include "tensor/types.h"

namespace pare {

/// The tensor type of a declaration, or null for a sequence, map, optional or no type.
const onnx::TypeProto::Tensor* tensor_type(const onnx::ValueInfoProto& info);

/// What to do with a fixed extent that turns out to be another one.
enum class ExtentPolicy {
  kOverwrite,  ///< Say the actual one.
  kForget,     ///< Say nothing, because the actual one holds for the bound dims only.
};

/// Brings a declaration in line with `type`; symbols and doc strings stay. Where `type` knows
/// nothing, or the declaration is no tensor's, nothing changes. Returns whether anything did.
bool fit_declaration(onnx::ValueInfoProto& info, const TensorType& type, ExtentPolicy policy);

/// A declaration where the file has none.
void declare(onnx::ValueInfoProto& info, const TensorType& type);

}  // namespace pare
