#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "support/error.h"
#include "tensor/float16.h"
#include "tensor/types.h"

namespace pare {

/// Calls `body.operator()<T>()` with the C++ type that stores `dtype`: float, double, Float16,
/// BFloat16, int8_t ... uint64_t, bool. Throws Error(kUnsupported) for strings, complex and float8.
template <typename Body>
decltype(auto) visit_dtype(DType dtype, Body&& body);

/// The DType that C++ type T stores natively (int8_t -> kI8).
template <typename T>
constexpr DType dtype_of();

/// A dense row-major tensor with value semantics and shared storage.
///
/// Copying shares the bytes; mutable_data() copies them first when anybody else can see them. So
/// weights can be passed around freely and are never changed behind a graph's back. Bytes may
/// belong to something else (a parsed file, a mapped file): `view` keeps that owner alive.
class Tensor {
 public:
  Tensor() = default;
  /// Zero-filled (strings: empty).
  Tensor(DType dtype, Shape shape);
  /// Elements as given. Throws Error(kInternal) when the count is not the shape's.
  template <typename T>
  Tensor(Shape shape, const std::vector<T>& values);

  /// Allocated, not filled.
  static Tensor uninitialized(DType dtype, Shape shape);
  /// Borrows `bytes`, which must be element_count(shape) * element_size(dtype) long, be aligned for
  /// the element type, and live as long as `owner`.
  static Tensor view(DType dtype, Shape shape, std::shared_ptr<const void> owner,
                     std::span<const std::byte> bytes);
  /// A type without elements, for rules that look at types only; data() is empty.
  static Tensor without_elements(TensorType type);
  static Tensor of_strings(Shape shape, std::vector<std::string> strings);
  template <typename T>
  static Tensor scalar(T value) {
    return Tensor(Shape{}, std::vector<T>{value});  // With {} an int64_t would be a Shape.
  }

  DType dtype() const { return type_.dtype; }
  const Shape& shape() const { return type_.shape; }
  const TensorType& type() const { return type_; }
  int64_t size() const { return element_count(type_.shape); }
  bool defined() const { return type_.dtype != DType::kUndefined; }

  std::span<const std::byte> bytes() const { return bytes_; }
  std::span<std::byte> mutable_bytes();
  const std::vector<std::string>& strings() const;

  /// Typed access. Throws Error(kInternal) when T does not store dtype() (int8_t stores kI8, kI4
  /// and kI2; uint8_t kU8, kU4, kU2, float8 and float4).
  template <typename T>
  std::span<const T> data() const {
    check_storage<T>();
    return {reinterpret_cast<const T*>(bytes_.data()), bytes_.size() / sizeof(T)};
  }
  template <typename T>
  std::span<T> mutable_data() {
    check_storage<T>();
    const std::span<std::byte> bytes = mutable_bytes();
    return {reinterpret_cast<T*>(bytes.data()), bytes.size() / sizeof(T)};
  }

  /// The same elements in another shape of the same element count; shares storage.
  Tensor reshaped(Shape shape) const;
  /// The same bytes seen as another dtype of the same element size (kI8 as kI4).
  Tensor retyped(DType dtype) const;

 private:
  template <typename T>
  void check_storage() const;

  TensorType type_;
  std::shared_ptr<const void> owner_;
  std::span<const std::byte> bytes_;
  bool writable_ = false;  ///< `owner_` is a buffer of ours, not a borrowed one.
};

/// Weights are immutable and shared, so copying a Graph copies no weights.
using TensorRef = std::shared_ptr<const Tensor>;

/// Copies the slices `keep` of `axis` in that order and drops the others; any dtype.
Tensor gather(const Tensor& tensor, int axis, const std::vector<int64_t>& keep);

/// Converts element by element: float to integer truncates and saturates (NaN gives 0), to bool
/// tests
/// != 0, otherwise as C++ does.
Tensor cast(const Tensor& tensor, DType dtype);

/// Elements of an integer tensor (any width, bool too) as int64. Throws Error(kInput) for floats.
std::vector<int64_t> to_int64(const Tensor& tensor);

/// Same dtype, shape and bytes.
bool identical(const Tensor& a, const Tensor& b);

// -- Implementation ------------------------------------------------------------------------------

template <typename T>
constexpr DType dtype_of() {
  if constexpr (std::is_same_v<T, float>) return DType::kF32;
  if constexpr (std::is_same_v<T, double>) return DType::kF64;
  if constexpr (std::is_same_v<T, Float16>) return DType::kF16;
  if constexpr (std::is_same_v<T, BFloat16>) return DType::kBF16;
  if constexpr (std::is_same_v<T, int8_t>) return DType::kI8;
  if constexpr (std::is_same_v<T, int16_t>) return DType::kI16;
  if constexpr (std::is_same_v<T, int32_t>) return DType::kI32;
  if constexpr (std::is_same_v<T, int64_t>) return DType::kI64;
  if constexpr (std::is_same_v<T, uint8_t>) return DType::kU8;
  if constexpr (std::is_same_v<T, uint16_t>) return DType::kU16;
  if constexpr (std::is_same_v<T, uint32_t>) return DType::kU32;
  if constexpr (std::is_same_v<T, uint64_t>) return DType::kU64;
  if constexpr (std::is_same_v<T, bool>) return DType::kBool;
  return DType::kUndefined;
}

template <typename Body>
decltype(auto) visit_dtype(DType dtype, Body&& body) {
  switch (dtype) {
    case DType::kF32:
      return body.template operator()<float>();
    case DType::kF64:
      return body.template operator()<double>();
    case DType::kF16:
      return body.template operator()<Float16>();
    case DType::kBF16:
      return body.template operator()<BFloat16>();
    case DType::kI8:
    case DType::kI4:
    case DType::kI2:
      return body.template operator()<int8_t>();
    case DType::kI16:
      return body.template operator()<int16_t>();
    case DType::kI32:
      return body.template operator()<int32_t>();
    case DType::kI64:
      return body.template operator()<int64_t>();
    case DType::kU8:
    case DType::kU4:
    case DType::kU2:
      return body.template operator()<uint8_t>();
    case DType::kU16:
      return body.template operator()<uint16_t>();
    case DType::kU32:
      return body.template operator()<uint32_t>();
    case DType::kU64:
      return body.template operator()<uint64_t>();
    case DType::kBool:
      return body.template operator()<bool>();
    default:
      throw Error(ErrorKind::kUnsupported,
                  "element type " + std::string(to_string(dtype)) + " cannot be computed with");
  }
}

template <typename T>
void Tensor::check_storage() const {
  const bool narrow =
      (std::is_same_v<T, int8_t> && (dtype() == DType::kI4 || dtype() == DType::kI2)) ||
      (std::is_same_v<T, uint8_t> && (dtype() == DType::kU4 || dtype() == DType::kU2 ||
                                      (dtype() >= DType::kF8E4M3FN && dtype() <= DType::kF4E2M1)));
  PARE_CHECK(dtype_of<T>() == dtype() || narrow,
             "tensor of " + std::string(to_string(dtype())) + " read as another type");
}

template <typename T>
Tensor::Tensor(Shape shape, const std::vector<T>& values)
    : Tensor(uninitialized(dtype_of<T>(), std::move(shape))) {
  const std::span<T> elements = mutable_data<T>();
  PARE_CHECK(elements.size() == values.size(), "element count differs from the shape's");
  for (size_t i = 0; i < values.size(); ++i) elements[i] = values[i];
}

}  // namespace pare
