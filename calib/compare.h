#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tensor/tensor.h"

namespace pare {

/// How far outputs are from reference outputs, over all samples.
struct Comparison {
  int64_t samples = 0;
  double max_abs_error = 0;
  double max_relative_error = 0;  ///< max |a-b| / max |reference|
  double sqnr_db = 0;             ///< 10 log10(sum reference^2 / sum error^2); +inf when equal.
  double cosine = 1;
  double agreement =
      1;          ///< Share of rows (last axis: classes) with the same arg max, or of classes.
  double kl = 0;  ///< Mean KL(softmax(reference) || softmax(output)) over rows, nats.
};

/// Compares output lists of two runs on the same samples: errors over all outputs; agreement and KL
/// on the first output that is float with a last axis of two or more; where none is, agreement is
/// the share of equal elements of integer outputs (an ArgMax). Where that output is already
/// a distribution (rows non-negative and summing to 1) KL is taken without another softmax. Throws
/// Error(kInput) when the shapes differ.
Comparison compare_outputs(std::span<const Tensor> reference, std::span<const Tensor> outputs);

}  // namespace pare
