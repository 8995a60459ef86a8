#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "tensor/tensor.h"

namespace pare {

/// Elements between neighbours on each axis of a dense row-major tensor of `shape`.
std::vector<int64_t> row_strides(const Shape& shape);

/// The elements of `source` at `offset` + sum of index * stride, for every index of `shape`, as a
/// dense tensor of `shape`. Strides may be 0 (repeat) or negative (backwards). Any dtype but
/// strings (see move_elements). The caller guarantees that every address is inside `source`.
Tensor strided_copy(const Tensor& source, int64_t offset, const Shape& shape,
                    std::span<const int64_t> strides);

/// Output index o on axis a takes source index maps[a][o], or `fill` where that is -1. `fill` is
/// one element of the dtype of `source`. Any dtype but strings. Throws Error(kInput) for an index
/// outside `source`.
Tensor mapped_copy(const Tensor& source, std::span<const std::vector<int64_t>> maps,
                   std::span<const std::byte> fill);

/// Copies `source` with its axes in the order `order`: output axis i is source axis order[i].
Tensor transposed(const Tensor& source, std::span<const size_t> order);

/// Calls `move` with operands that have bytes, for operators that move elements without looking at
/// them: strings travel as their numbers and are put in place afterwards. Outputs of `move` hold
/// elements of `sources` only, which all have one dtype.
using Mover = std::function<std::vector<Tensor>(std::span<const Tensor> sources)>;
std::vector<Tensor> move_elements(std::span<const Tensor> sources, const Mover& move);
Tensor move_elements(const Tensor& source, const std::function<Tensor(const Tensor&)>& move);

/// Calls `body.operator()<N>()` with the bytes of an element as a constant, so that copying one is
/// one instruction. Throws Error(kUnsupported) for sizes no element type has.
template <typename Body>
decltype(auto) visit_element_size(size_t size, Body&& body) {
  switch (size) {
    case 1:
      return body.template operator()<1>();
    case 2:
      return body.template operator()<2>();
    case 4:
      return body.template operator()<4>();
    case 8:
      return body.template operator()<8>();
    case 16:
      return body.template operator()<16>();
    default:
      throw Error(ErrorKind::kUnsupported, "elements of this type cannot be moved");
  }
}

/// Runs `body(offset)` for every index of `shape`, in row-major order, where `offset` is the sum of
/// index * stride.
template <typename Body>
void for_each_offset(const Shape& shape, std::span<const int64_t> strides, Body&& body) {
  int64_t offset = 0;
  std::vector<int64_t> index(shape.size(), 0);
  for (int64_t left = element_count(shape); left > 0; --left) {
    body(offset);
    for (size_t axis = shape.size(); axis-- > 0;) {
      offset += strides[axis];
      if (++index[axis] < shape[axis]) break;
      offset -= strides[axis] * shape[axis];
      index[axis] = 0;
    }
  }
}

}  // namespace pare
