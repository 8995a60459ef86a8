#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "calib/compare_values.h"
#include "ir/lineage.h"
#include "support/progress.h"

namespace pare {

/// How far a weighted layer's result is from what it was before a run of passes.
struct LayerMeasure {
  NodeId layer;              ///< Of the original.
  ValueComparison result;    ///< Of its result, as the layers behind it read it.
  Distribution weights;      ///< Of the original.
  Distribution weights_now;  ///< Of the node that stands for it, dequantized; empty without one.
};

struct MeasureOptions {
  int64_t samples = 16;
  int threads = 1;
  Progress progress;
};

/// Measures the weighted layers of `original`, in order, whose results are still there in `result`;
/// of a layer that lost channels those that are left. `lineage` leads from one graph to the other.
/// What makes up one layer with it is taken together: where the result of a Conv has no heir
/// because a BatchNormalization was folded into it, that of the BatchNormalization counts.
std::vector<LayerMeasure> measure_layers(const Graph& original, const Graph& result,
                                         const Lineage& lineage, const Dataset& data,
                                         const MeasureOptions& options);

}  // namespace pare
