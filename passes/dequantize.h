#pragma once

#include <memory>

#include "passes/pass.h"

namespace pare {

/// Takes a quantized model back to float, to be pruned or quantized anew:
///
///   DequantizeLinear of constants           a float constant
///   QuantizeLinear -> DequantizeLinear      nothing
///   QLinearConv, QLinearAdd, QGemm, ...     Conv, Add, Gemm, ... on floats
///
/// A code whose lowest number stands for 0 does the work of a Relu that is not in the file; one
/// that ends at 6 too, of a Relu6. Those are put in. Quantization that other than constants decide
/// (DynamicQuantizeLinear, integers that are inputs of the model) stays.
std::unique_ptr<Pass> make_dequantize();

}  // namespace pare
