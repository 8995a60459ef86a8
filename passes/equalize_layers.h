#pragma once

#include <cstdint>
#include <memory>

#include "passes/pass.h"

namespace pare {

/// Cross-layer equalization (Nagel et al., "Data-Free Quantization Through Weight Equalization and
/// Bias Correction", ICCV 2019): where channel i of a Conv, ConvTranspose or Gemm reaches the next
/// ones only through operators f with f(x / s) = f(x) / s,
///
///   W1[i] /= s_i, b1[i] /= s_i, W2[.., i] *= s_i     s_i = sqrt(max|W1[i]| / max|W2[.., i]|)
///
/// computes the same and gives channel i the same reach in both, so that one scale for all channels
/// of a weight costs less. Repeated over all pairs until nothing moves.
///
/// f: Relu, LeakyRelu, PRelu, pooling, Flatten, and Clip(0, h) for those channels that do not reach
/// h, before and after. Depthwise layers are ones like all others. A result that is used elsewhere,
/// or is an output of the model, stays as it is.
struct EqualizeLayersOptions {
  /// How it is known that a channel does not reach h: proven from what bounds the layer's input,
  /// which changes nothing, or as measured on the calibration data, which nearly does.
  enum class Reach : uint8_t { kProven, kMeasured };
  Reach reach = Reach::kProven;
  int64_t samples = 256;  ///< To measure on.
};

class Options;
/// Reads `reach` and `samples`.
EqualizeLayersOptions read_equalize_layers(Options& options);

std::unique_ptr<Pass> make_equalize_layers(const EqualizeLayersOptions& options = {});

}  // namespace pare
