#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "passes/quantize_int8.h"
#include "passes/width_budget.h"

namespace pare {

struct QuantizeMixedOptions {
  QuantizeInt8Options quantize;       ///< `chosen` and `weight_bits` are ignored.
  std::vector<int> bits = {8, 4, 3};  ///< Widths to choose from, descending.
  WidthBudget budget;
  /// Largest share of held-out samples whose best class may change.
  std::optional<double> max_drop;
  int64_t measure_samples = 64;
};

/// Reads the options `pare passes` lists.
QuantizeMixedOptions read_quantize_mixed(Options& options);

/// quantize-int8 with a width of its own for the weights of every layer.
///
/// Sensitivity of a layer at a width: KL of the outputs (where they are no classes, noise to
/// signal) between the float network and the one with the weights of that layer alone at that
/// width, rounded as quantize-int8 rounds them. The widths with the least sum of sensitivities that
/// keep the budget are taken. First and last layers keep eight bits unless told otherwise, and do
/// not count in an average.
///
/// With `max_drop` the network is quantized and run on held-out samples; where too many change
/// their best class the budget is raised, halving the way to eight bits, until they do not.
std::unique_ptr<Pass> make_quantize_mixed(const QuantizeMixedOptions& options);

}  // namespace pare
