#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "calib/compare.h"
#include "calib/compare_values.h"
#include "calib/dataset.h"
#include "cost/precision.h"
#include "support/progress.h"

namespace pare {

/// What quantization does to one weighted node.
struct LayerDiagnosis {
  std::string name, op;
  int weight_bits = 0;  ///< That its integers need.
  uint64_t macs = 0;
  ValueComparison result;   ///< Of its result in the quantized network with the original's.
  Comparison alone;         ///< Of the outputs of the original with only this node quantized.
  ValueComparison weights;  ///< Of its weights.
};

struct Diagnosis {
  Comparison outputs;                  ///< Of the quantized network with the original.
  std::vector<LayerDiagnosis> layers;  ///< The one that does most harm alone first.
  std::vector<std::string> unmatched;  ///< Weighted nodes of the quantized network without partner.
};

struct DiagnoseOptions {
  int64_t samples = 64;
  int threads = 1;
  Progress progress;
};

/// Compares a quantized network (QDQ form) with the float network it was made of, layer by layer.
///
/// Weighted nodes are partners when their name, or the name of their result, is the same and so is
/// the shape of their weights; BatchNormalization is folded into a copy of the original first. A
/// node alone is quantized by giving the original its dequantized weights and bias, and its input
/// the QuantizeLinear and DequantizeLinear it has. Throws Error(kInput) when there are no partners,
/// or the outputs have other shapes.
Diagnosis diagnose_layers(const Graph& original, const Graph& quantized, const Dataset& data,
                          const DiagnoseOptions& options);

}  // namespace pare
