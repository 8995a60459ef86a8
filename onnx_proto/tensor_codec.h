#pragma once

#include <onnx/onnx_pb.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "tensor/tensor.h"

// Why this folder exists: the importer and the exporter are siblings that never meet, yet each must
// read what the other writes (element types, tensor layouts, attributes, what a subgraph captures).
// That common knowledge lives here once. Only these two include it, for its headers show protobuf.

namespace pare {

/// TensorProto.DataType as a DType; kUndefined for one this tool does not know.
DType dtype_from_onnx(int32_t data_type);
int32_t dtype_to_onnx(DType dtype);

/// Bytes of a tensor kept outside the model file, and what keeps them alive.
struct ExternalBytes {
  std::shared_ptr<const void> owner;
  std::span<const std::byte> bytes;
};

/// Finds the `size` external bytes a TensorProto speaks of. Throws Error(kInput).
using ExternalSource = std::function<ExternalBytes(const onnx::TensorProto&, uint64_t size)>;

/// An ExternalSource for where external data has no place: throws Error(kUnsupported).
ExternalBytes no_external_data(const onnx::TensorProto& proto, uint64_t size);

/// Decodes `proto` from whichever field its data is in.
///
/// Raw bytes are moved out of `proto`, not copied, so that weights are held once; afterwards
/// `proto` has no data. `raw` is its raw data where that was not parsed. The data's size is checked
/// against the dims before anything is allocated. Throws Error(kInput) naming fact and expectation,
/// Error(kUnsupported) for an unknown element type.
Tensor take_tensor(onnx::TensorProto& proto, const ExternalSource& external,
                   std::optional<ExternalBytes> raw = {});

/// The extents of `proto`. Throws Error(kInput) when one is negative or their product overflows.
Shape dims_of(const onnx::TensorProto& proto);

/// Clears everything `proto` says about its elements and where they are.
void clear_data(onnx::TensorProto& proto);

/// Dims, element type and, for strings, the elements of `tensor`; raw bytes are left to the caller.
void put_type(const Tensor& tensor, onnx::TensorProto& proto);

/// How many bytes `tensor` has in a file, where 4-bit and 2-bit elements are packed.
uint64_t raw_size(const Tensor& tensor);

/// Those bytes: `tensor`'s own, or packed ones in `buffer`.
std::span<const std::byte> raw_bytes(const Tensor& tensor, std::string& buffer);

/// put_type() and the raw bytes.
void put_tensor(const Tensor& tensor, onnx::TensorProto& proto);

}  // namespace pare
