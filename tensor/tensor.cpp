#include "tensor/tensor.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <new>

#include "support/memory.h"

namespace pare {
namespace {

constexpr std::align_val_t kAlignment{64};  // A cache line, and the widest vector register.

using Strings = std::vector<std::string>;

/// Buffers from this size on go back to the system when they are freed. In the heap, where those of
/// all layers' sizes lie side by side, half the memory ends up in gaps too small for the next.
constexpr size_t kLarge = size_t{4} << 20;

std::shared_ptr<std::byte> allocate(size_t bytes) {
  if (bytes >= kLarge) return map_memory(bytes);
  auto* data = static_cast<std::byte*>(::operator new(std::max<size_t>(bytes, 1), kAlignment));
  return {data, [](std::byte* p) { ::operator delete(p, kAlignment); }};
}

int64_t product(const Shape& shape, size_t first, size_t last) {
  int64_t count = 1;
  for (size_t i = first; i < last; ++i) count *= shape[i];
  return count;
}

/// static_cast, but defined where a float does not fit the integer: saturates, NaN becomes 0.
template <typename To, typename From>
To convert(From value) {
  if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To> &&
                !std::is_same_v<To, bool>) {
    // 2^digits is the first value too large; unlike max() it is exact in From.
    const From limit = std::ldexp(From{1}, std::numeric_limits<To>::digits);
    if (std::isnan(value)) return 0;
    if (value >= limit) return std::numeric_limits<To>::max();
    if (value < static_cast<From>(std::numeric_limits<To>::min()))
      return std::numeric_limits<To>::min();
  }
  return static_cast<To>(value);
}

}  // namespace

Tensor Tensor::uninitialized(DType dtype, Shape shape) {
  Tensor tensor;
  tensor.type_ = {dtype, std::move(shape)};
  const auto count = static_cast<size_t>(element_count(tensor.type_.shape));
  if (dtype == DType::kString) {
    tensor.owner_ = std::make_shared<Strings>(count);
    return tensor;
  }
  size_t size = 0;
  if (__builtin_mul_overflow(count, element_size(dtype), &size) || size > (size_t{1} << 46))
    throw Error(ErrorKind::kInput, "tensor " + to_string(tensor.type_) + " does not fit in memory");
  std::shared_ptr<std::byte> buffer = allocate(size);
  tensor.bytes_ = {buffer.get(), size};
  tensor.owner_ = std::move(buffer);
  tensor.writable_ = true;
  return tensor;
}

Tensor::Tensor(DType dtype, Shape shape) : Tensor(uninitialized(dtype, std::move(shape))) {
  std::ranges::fill(mutable_bytes(), std::byte{0});
}

Tensor Tensor::view(DType dtype, Shape shape, std::shared_ptr<const void> owner,
                    std::span<const std::byte> bytes) {
  Tensor tensor;
  tensor.type_ = {dtype, std::move(shape)};
  PARE_CHECK(bytes.size() == static_cast<size_t>(tensor.size()) * element_size(dtype),
             "viewed bytes are not the shape's");
  tensor.owner_ = std::move(owner);
  tensor.bytes_ = bytes;
  return tensor;
}

Tensor Tensor::without_elements(TensorType type) {
  Tensor tensor;
  tensor.type_ = std::move(type);
  return tensor;
}

Tensor Tensor::of_strings(Shape shape, std::vector<std::string> strings) {
  Tensor tensor;
  tensor.type_ = {DType::kString, std::move(shape)};
  PARE_CHECK(static_cast<int64_t>(strings.size()) == tensor.size(),
             "string count is not the shape's");
  tensor.owner_ = std::make_shared<Strings>(std::move(strings));
  return tensor;
}

std::span<std::byte> Tensor::mutable_bytes() {
  if (!writable_ || owner_.use_count() != 1) {
    std::shared_ptr<std::byte> copy = allocate(bytes_.size());
    if (!bytes_.empty()) std::memcpy(copy.get(), bytes_.data(), bytes_.size());
    bytes_ = {copy.get(), bytes_.size()};
    owner_ = std::move(copy);
    writable_ = true;
  }
  return {const_cast<std::byte*>(bytes_.data()), bytes_.size()};
}

const std::vector<std::string>& Tensor::strings() const {
  PARE_CHECK(dtype() == DType::kString, "tensor has no strings");
  return *static_cast<const Strings*>(owner_.get());
}

Tensor Tensor::reshaped(Shape shape) const {
  PARE_CHECK(element_count(shape) == size(), "reshaped to another element count");
  Tensor tensor = *this;
  tensor.type_.shape = std::move(shape);
  return tensor;
}

Tensor Tensor::retyped(DType dtype) const {
  PARE_CHECK(element_size(dtype) == element_size(this->dtype()), "retyped to another element size");
  Tensor tensor = *this;
  tensor.type_.dtype = dtype;
  return tensor;
}

Tensor gather(const Tensor& tensor, int axis, const std::vector<int64_t>& keep) {
  const auto a = static_cast<size_t>(axis);
  PARE_CHECK(axis >= 0 && a < tensor.shape().size(), "gather axis out of range");
  const int64_t extent = tensor.shape()[a];
  PARE_CHECK(std::ranges::all_of(keep, [&](int64_t i) { return i >= 0 && i < extent; }),
             "gather index out of range");
  const int64_t outer = product(tensor.shape(), 0, a);
  const int64_t inner = product(tensor.shape(), a + 1, tensor.shape().size());
  Shape shape = tensor.shape();
  shape[a] = static_cast<int64_t>(keep.size());

  if (tensor.dtype() == DType::kString) {
    Strings strings;
    for (int64_t o = 0; o < outer; ++o) {
      for (int64_t index : keep) {
        const auto first = tensor.strings().begin() + (o * extent + index) * inner;
        strings.insert(strings.end(), first, first + inner);
      }
    }
    return Tensor::of_strings(std::move(shape), std::move(strings));
  }
  Tensor result = Tensor::uninitialized(tensor.dtype(), std::move(shape));
  const size_t row = static_cast<size_t>(inner) * element_size(tensor.dtype());
  std::byte* to = result.mutable_bytes().data();
  for (int64_t o = 0; o < outer; ++o) {
    for (int64_t index : keep) {
      if (row > 0)
        std::memcpy(to, tensor.bytes().data() + static_cast<size_t>(o * extent + index) * row, row);
      to += row;
    }
  }
  return result;
}

Tensor cast(const Tensor& tensor, DType dtype) {
  if (dtype == tensor.dtype()) return tensor;
  Tensor result = Tensor::uninitialized(dtype, tensor.shape());
  visit_dtype(tensor.dtype(), [&]<typename From>() {
    visit_dtype(dtype, [&]<typename To>() {
      constexpr auto kHalf = []<typename T>() {
        return std::is_same_v<T, Float16> || std::is_same_v<T, BFloat16>;
      };
      const std::span<const From> from = tensor.data<From>();
      const std::span<To> to = result.mutable_data<To>();
      for (size_t i = 0; i < from.size(); ++i) {
        if constexpr (kHalf.template operator()<To>()) {
          to[i] = To(static_cast<float>(from[i]));
        } else if constexpr (kHalf.template operator()<From>()) {
          to[i] = convert<To>(static_cast<float>(from[i]));
        } else {
          to[i] = convert<To>(from[i]);
        }
      }
    });
  });
  return result;
}

std::vector<int64_t> to_int64(const Tensor& tensor) {
  if (!is_integer(tensor.dtype()) && tensor.dtype() != DType::kBool)
    throw Error(ErrorKind::kInput,
                "expected integers, found a tensor of " + std::string(to_string(tensor.dtype())));
  const Tensor wide = cast(tensor, DType::kI64);
  const std::span<const int64_t> data = wide.data<int64_t>();
  return {data.begin(), data.end()};
}

bool identical(const Tensor& a, const Tensor& b) {
  if (a.type() != b.type()) return false;
  if (a.dtype() == DType::kString) return a.strings() == b.strings();
  return std::ranges::equal(a.bytes(), b.bytes());
}

}  // namespace pare
