#pragma once

#include <cstdint>

#include "ir/graph.h"

namespace pare {

/// Rewrites QDQ form into operators that take the integers themselves:
///
///   DequantizeLinear -> Conv -> Relu -> QuantizeLinear     becomes     QLinearConv
///
/// Conv and MatMul become QLinearConv and QLinearMatMul, Gemm, Add, Mul, Concat and average pools
/// QGemm, QLinearAdd, ... of com.microsoft, which ONNX has no form of; a Gemm whose result stays
/// float is a QGemm too. Operators that move elements take the integers as they are. A Relu or Clip
/// is dropped where saturation does the same, else a Clip of the integers. What has none of these
/// forms keeps its pairs. Returns how many nodes were rewritten.
int64_t to_qoperators(Graph& graph);

}  // namespace pare
