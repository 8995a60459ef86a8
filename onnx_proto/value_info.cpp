#include "onnx_proto/value_info.h"

#include "onnx_proto/tensor_codec.h"

namespace pare {
namespace {

using Dim = onnx::TensorShapeProto::Dimension;

/// A negative extent is how some exporters write an unknown one.
bool is_fixed(const Dim& dim) { return dim.has_dim_value() && dim.dim_value() >= 0; }

bool fit_dim(Dim& dim, int64_t extent, ExtentPolicy policy) {
  if (!is_fixed(dim) || extent < 0 || dim.dim_value() == extent) return false;
  if (policy == ExtentPolicy::kForget) {
    dim.clear_dim_value();
  } else {
    dim.set_dim_value(extent);
  }
  return true;
}

void put_shape(onnx::TensorShapeProto& shape, const Shape& extents) {
  shape.clear_dim();
  for (int64_t extent : extents) {
    Dim& dim = *shape.add_dim();
    if (extent >= 0) dim.set_dim_value(extent);
  }
}

}  // namespace

const onnx::TypeProto::Tensor* tensor_type(const onnx::ValueInfoProto& info) {
  return info.type().has_tensor_type() ? &info.type().tensor_type() : nullptr;
}

bool fit_declaration(onnx::ValueInfoProto& info, const TensorType& type, ExtentPolicy extent) {
  if (!tensor_type(info)) return false;
  auto& declared = *info.mutable_type()->mutable_tensor_type();
  bool changed = false;
  if (type.dtype != DType::kUndefined && declared.elem_type() != dtype_to_onnx(type.dtype)) {
    declared.set_elem_type(dtype_to_onnx(type.dtype));
    changed = true;
  }
  if (!declared.has_shape() || !type.ranked) return changed;
  onnx::TensorShapeProto& shape = *declared.mutable_shape();
  if (static_cast<size_t>(shape.dim_size()) != type.shape.size()) {
    put_shape(shape, extent == ExtentPolicy::kForget ? Shape(type.shape.size(), -1) : type.shape);
    return true;
  }
  for (int i = 0; i < shape.dim_size(); ++i)
    changed |= fit_dim(*shape.mutable_dim(i), type.shape[static_cast<size_t>(i)], extent);
  return changed;
}

void declare(onnx::ValueInfoProto& info, const TensorType& type) {
  if (type.dtype == DType::kUndefined) return;
  auto& tensor = *info.mutable_type()->mutable_tensor_type();
  tensor.set_elem_type(dtype_to_onnx(type.dtype));
  if (type.ranked) put_shape(*tensor.mutable_shape(), type.shape);
}

}  // namespace pare
