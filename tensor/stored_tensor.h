#pragma once

#include "tensor/tensor.h"

namespace pare {

/// A tensor put away until it is wanted again, as it is or in half its bytes.
///
/// Packed floats have the 10 bits of mantissa of a half, and one power of two for the whole tensor
/// so that the range of halves suits it: what is below 2^-29 of the largest element becomes zero.
/// Only float32 tensors whose elements are finite are packed; others stay as they are.
class StoredTensor {
 public:
  StoredTensor() = default;
  static StoredTensor exact(Tensor tensor);
  static StoredTensor packed(const Tensor& tensor);

  /// The tensor, whose storage is shared where it is not packed.
  Tensor tensor() const;
  const Shape& shape() const { return shape_; }

 private:
  Tensor exact_;
  Tensor halves_;   ///< As whole numbers.
  float unit_ = 1;  ///< What a packed element is to be multiplied with.
  Shape shape_;
};

}  // namespace pare
