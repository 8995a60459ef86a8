#include "onnx_proto/sparse.h"

#include <cstring>
#include <vector>

#include "onnx_proto/tensor_codec.h"

namespace pare {
namespace {

constexpr int64_t kMaxBytes = int64_t{1} << 30;

/// Position of element `i` in row-major order.
int64_t position(std::span<const int64_t> indices, size_t i, const Shape& indices_shape,
                 const Shape& dims) {
  if (indices_shape.size() == 1) return indices[i];
  int64_t flat = 0;
  for (size_t axis = 0; axis < dims.size(); ++axis) {
    const int64_t at = indices[i * dims.size() + axis];
    if (at < 0 || at >= dims[axis]) return -1;
    flat = flat * dims[axis] + at;
  }
  return flat;
}

}  // namespace

Tensor densify(onnx::SparseTensorProto sparse) {
  onnx::TensorProto extent;
  *extent.mutable_dims() = sparse.dims();
  const Shape dims = dims_of(extent);
  const Tensor values = take_tensor(*sparse.mutable_values(), no_external_data);
  const Tensor indices = take_tensor(*sparse.mutable_indices(), no_external_data);
  const int64_t count = values.size();
  const size_t width = element_size(values.dtype());
  if (width == 0) throw Error(ErrorKind::kUnsupported, "a sparse tensor of strings");
  const Shape flat{count}, by_axis{count, static_cast<int64_t>(dims.size())};
  if (indices.dtype() != DType::kI64 || (indices.shape() != flat && indices.shape() != by_axis)) {
    throw Error(ErrorKind::kInput, "indices are " + to_string(indices.type()) + ", expected i64" +
                                       to_string(flat) + " or i64" + to_string(by_axis));
  }
  const int64_t size = element_count(dims);
  if (size > kMaxBytes / static_cast<int64_t>(width))
    throw Error(ErrorKind::kUnsupported,
                "sparse tensor of shape " + to_string(dims) + " is too large to be made dense");
  Tensor dense(values.dtype(), dims);
  std::byte* to = dense.mutable_bytes().data();
  for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
    const int64_t at = position(indices.data<int64_t>(), i, indices.shape(), dims);
    if (at < 0 || at >= size)
      throw Error(ErrorKind::kInput,
                  "index " + std::to_string(i) + " is outside the shape " + to_string(dims));
    std::memcpy(to + static_cast<size_t>(at) * width, values.bytes().data() + i * width, width);
  }
  return dense;
}

}  // namespace pare
