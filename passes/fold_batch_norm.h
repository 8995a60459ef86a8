#pragma once

#include <memory>

#include "passes/pass.h"

namespace pare {

/// Folds a BatchNormalization into the Conv, ConvTranspose or Gemm before it:
///
///   s  = scale / sqrt(var + epsilon)      per output channel
///   W' = W * s
///   b' = (b - mean) * s + bias
///
/// and likewise an Add, Sub, Mul or Div by a constant per channel behind one. A BatchNormalization
/// right before a Conv without padding, or a Gemm, is folded into that:
///
///   W' = W * s       per input channel
///   b' = b + sum over W of (bias - mean * s)
///
/// Applies to float32 and float64 parameters that are constants and to a result that nothing else
/// uses; otherwise the nodes are left alone. Weights shared with another node are copied first.
std::unique_ptr<Pass> make_fold_batch_norm();

}  // namespace pare
