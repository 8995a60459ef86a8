#include "onnx_proto/tensor_codec.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>
#include <vector>

namespace pare {
namespace {

static_assert(std::endian::native == std::endian::little, "ONNX raw data is little-endian");

/// By TensorProto.DataType, https://onnx.ai/onnx/intro/concepts.html#element-type.
constexpr DType kTypes[] = {
    DType::kUndefined,  DType::kF32,  DType::kU8,       DType::kI8,         DType::kU16,
    DType::kI16,        DType::kI32,  DType::kI64,      DType::kString,     DType::kBool,
    DType::kF16,        DType::kF64,  DType::kU32,      DType::kU64,        DType::kComplex64,
    DType::kComplex128, DType::kBF16, DType::kF8E4M3FN, DType::kF8E4M3FNUZ, DType::kF8E5M2,
    DType::kF8E5M2FNUZ, DType::kU4,   DType::kI4,       DType::kF4E2M1,     DType::kF8E8M0,
    DType::kU2,         DType::kI2,
};

std::string plural(uint64_t count, const std::string& what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

/// Bytes `count` elements take in a file. `count` is at most 2^63 - 1.
uint64_t file_size(DType dtype, uint64_t count) {
  const auto bits = static_cast<uint64_t>(bit_width(dtype));
  if (bits < 8) {
    const uint64_t per_byte = 8 / bits;
    return count / per_byte + (count % per_byte != 0);
  }
  uint64_t size = 0;
  if (__builtin_mul_overflow(count, bits / 8, &size))
    throw Error(ErrorKind::kInput, "its dims claim more bytes than there are addresses");
  return size;
}

bool is_packed(DType dtype) { return bit_width(dtype) < 8; }

bool is_signed_packed(DType dtype) { return dtype == DType::kI4 || dtype == DType::kI2; }

/// Elements of 4 or 2 bits, the first in the lowest bits, to one a byte; signed ones extended.
Tensor unpack(DType dtype, Shape shape, std::span<const std::byte> packed) {
  Tensor tensor = Tensor::uninitialized(dtype, std::move(shape));
  const std::span<std::byte> elements = tensor.mutable_bytes();
  const auto bits = static_cast<unsigned>(bit_width(dtype));
  const unsigned per_byte = 8 / bits, mask = (1u << bits) - 1, sign = 1u << (bits - 1);
  for (size_t i = 0; i < elements.size(); ++i) {
    const unsigned shift = static_cast<unsigned>(i % per_byte) * bits;
    unsigned element = (static_cast<unsigned>(packed[i / per_byte]) >> shift) & mask;
    if (is_signed_packed(dtype) && (element & sign)) element |= ~mask;
    elements[i] = static_cast<std::byte>(element & 0xffu);
  }
  return tensor;
}

/// A view where type and alignment allow it, else a copy; bool becomes 0 or 1.
Tensor from_bytes(DType dtype, Shape shape, const ExternalBytes& data) {
  if (is_packed(dtype)) return unpack(dtype, std::move(shape), data.bytes);
  const size_t alignment = std::min<size_t>(element_size(dtype), 8);
  const bool aligned = reinterpret_cast<uintptr_t>(data.bytes.data()) % alignment == 0;
  const bool clean = dtype != DType::kBool ||
                     std::ranges::all_of(data.bytes, [](std::byte b) { return b <= std::byte{1}; });
  if (aligned && clean) return Tensor::view(dtype, std::move(shape), data.owner, data.bytes);
  Tensor tensor = Tensor::uninitialized(dtype, std::move(shape));
  const std::span<std::byte> elements = tensor.mutable_bytes();
  if (!elements.empty()) std::memcpy(elements.data(), data.bytes.data(), elements.size());
  if (!clean) {
    std::ranges::transform(elements, elements.begin(),
                           [](std::byte b) { return b == std::byte{0} ? b : std::byte{1}; });
  }
  return tensor;
}

void expect_count(uint64_t found, uint64_t expected, const std::string& unit,
                  const std::string& field, const TensorType& type) {
  if (found == expected) return;
  throw Error(ErrorKind::kInput, to_string(type) + " needs " + plural(expected, unit) + ", but " +
                                     field + " has " + std::to_string(found));
}

/// Elements of a repeated field, each stored as `Stored` (complex numbers: two for an element).
template <typename Stored, typename Field>
Tensor from_field(const TensorType& type, const Field& field, const std::string& name) {
  const uint64_t count = file_size(type.dtype, static_cast<uint64_t>(element_count(type.shape)));
  expect_count(static_cast<uint64_t>(field.size()), count / sizeof(Stored), "value", name, type);
  auto stored = std::make_shared<std::vector<Stored>>();
  stored->reserve(static_cast<size_t>(field.size()));
  for (const auto element : field) stored->push_back(static_cast<Stored>(element));
  return from_bytes(type.dtype, type.shape, {stored, std::as_bytes(std::span(*stored))});
}

Tensor from_fields(const TensorType& type, const onnx::TensorProto& proto) {
  switch (type.dtype) {
    case DType::kF32:
    case DType::kComplex64:
      return from_field<float>(type, proto.float_data(), "float_data");
    case DType::kF64:
    case DType::kComplex128:
      return from_field<double>(type, proto.double_data(), "double_data");
    case DType::kI64:
      return from_field<int64_t>(type, proto.int64_data(), "int64_data");
    case DType::kU32:
      return from_field<uint32_t>(type, proto.uint64_data(), "uint64_data");
    case DType::kU64:
      return from_field<uint64_t>(type, proto.uint64_data(), "uint64_data");
    case DType::kI32:
      return from_field<int32_t>(type, proto.int32_data(), "int32_data");
    case DType::kI16:
    case DType::kU16:
    case DType::kF16:
    case DType::kBF16:
      return from_field<uint16_t>(type, proto.int32_data(), "int32_data");
    default:  // One byte an element or several elements a byte.
      return from_field<uint8_t>(type, proto.int32_data(), "int32_data");
  }
}

}  // namespace

DType dtype_from_onnx(int32_t data_type) {
  const auto i = static_cast<size_t>(data_type);
  return data_type >= 0 && i < std::size(kTypes) ? kTypes[i] : DType::kUndefined;
}

int32_t dtype_to_onnx(DType dtype) {
  return static_cast<int32_t>(std::ranges::find(kTypes, dtype) - std::begin(kTypes));
}

ExternalBytes no_external_data(const onnx::TensorProto&, uint64_t) {
  throw Error(ErrorKind::kUnsupported, "its data is in another file, which is not possible here");
}

Shape dims_of(const onnx::TensorProto& proto) {
  Shape shape(proto.dims().begin(), proto.dims().end());
  for (int64_t extent : shape) {
    if (extent < 0)
      throw Error(ErrorKind::kInput,
                  "has extent " + std::to_string(extent) + ", which must not be negative");
  }
  element_count(shape);
  return shape;
}

Tensor take_tensor(onnx::TensorProto& proto, const ExternalSource& external,
                   std::optional<ExternalBytes> raw) {
  const TensorType type{dtype_from_onnx(proto.data_type()), dims_of(proto)};
  const auto count = static_cast<uint64_t>(element_count(type.shape));
  if (type.dtype == DType::kUndefined)
    throw Error(ErrorKind::kUnsupported, "has element type " + std::to_string(proto.data_type()) +
                                             ", which this tool does not know");
  if (proto.has_segment())
    throw Error(ErrorKind::kUnsupported, "is stored in segments, which no tool writes");
  if (proto.data_location() == onnx::TensorProto::EXTERNAL) {
    if (type.dtype == DType::kString)
      throw Error(ErrorKind::kInput, "holds strings, which cannot be in another file");
    const ExternalBytes data = external(proto, file_size(type.dtype, count));
    clear_data(proto);
    return from_bytes(type.dtype, type.shape, data);
  }
  Tensor tensor;
  if (type.dtype == DType::kString) {
    expect_count(static_cast<uint64_t>(proto.string_data_size()), count, "string", "string_data",
                 type);
    tensor =
        Tensor::of_strings(type.shape, {proto.string_data().begin(), proto.string_data().end()});
  } else if (raw || proto.has_raw_data()) {
    if (!raw) {
      const std::shared_ptr<const std::string> own(proto.release_raw_data());
      raw = ExternalBytes{own, std::as_bytes(std::span(*own))};
    }
    expect_count(raw->bytes.size(), file_size(type.dtype, count), "byte", "raw_data", type);
    tensor = from_bytes(type.dtype, type.shape, *raw);
  } else {
    tensor = from_fields(type, proto);
  }
  clear_data(proto);
  return tensor;
}

void clear_data(onnx::TensorProto& proto) {
  proto.clear_dims();
  proto.clear_data_type();
  proto.clear_float_data();
  proto.clear_int32_data();
  proto.clear_string_data();
  proto.clear_int64_data();
  proto.clear_double_data();
  proto.clear_uint64_data();
  proto.clear_raw_data();
  proto.clear_external_data();
  proto.clear_data_location();
}

void put_type(const Tensor& tensor, onnx::TensorProto& proto) {
  clear_data(proto);
  for (int64_t extent : tensor.shape()) proto.add_dims(extent);
  proto.set_data_type(dtype_to_onnx(tensor.dtype()));
  if (tensor.dtype() != DType::kString) return;
  for (const std::string& string : tensor.strings()) proto.add_string_data(string);
}

uint64_t raw_size(const Tensor& tensor) {
  if (tensor.dtype() == DType::kString) return 0;
  return file_size(tensor.dtype(), static_cast<uint64_t>(tensor.size()));
}

std::span<const std::byte> raw_bytes(const Tensor& tensor, std::string& buffer) {
  if (!is_packed(tensor.dtype()) || tensor.dtype() == DType::kString) return tensor.bytes();
  const auto bits = static_cast<unsigned>(bit_width(tensor.dtype()));
  const unsigned per_byte = 8 / bits, mask = (1u << bits) - 1;
  buffer.assign(raw_size(tensor), '\0');
  for (size_t i = 0; i < tensor.bytes().size(); ++i) {
    const unsigned shift = static_cast<unsigned>(i % per_byte) * bits;
    const unsigned element = (static_cast<unsigned>(tensor.bytes()[i]) & mask) << shift;
    char& byte = buffer[i / per_byte];
    byte = static_cast<char>(static_cast<unsigned char>(byte) | element);
  }
  return std::as_bytes(std::span(buffer));
}

void put_tensor(const Tensor& tensor, onnx::TensorProto& proto) {
  put_type(tensor, proto);
  if (tensor.dtype() == DType::kString) return;
  std::string buffer;
  const std::span<const std::byte> bytes = raw_bytes(tensor, buffer);
  proto.set_raw_data(bytes.data(), bytes.size());
}

}  // namespace pare
