#pragma once

#include <memory>

#include "passes/pass.h"

namespace pare {

/// Replaces activations that exporters spell in several nodes by the operator ONNX has for them,
/// where the model's opset knows it:
///
///   x sigmoid(alpha x)   Swish        opset 24
///   x hard_sigmoid(x)    HardSwish    opset 14
///   x phi(x)             Gelu         opset 20
///
/// in the spellings of activation_pattern(). The rest is left as it is and counted. One operator
/// has one range: quantize-int8 then puts no QuantizeLinear inside (it treats the spelled ones the
/// same way by itself).
std::unique_ptr<Pass> make_fuse_activations();

}  // namespace pare
