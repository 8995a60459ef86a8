#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "calib/distribution.h"
#include "calib/runner.h"

namespace pare {

/// A value of one graph and the one that stands for it in another.
struct ValuePair {
  ValueId before, after;
  Survivors left = {};  ///< Indices of `before` that `after` still has; they alone are compared.
};

/// How far the second of a pair is from the first, over all samples.
struct ValueComparison {
  int64_t elements = 0;  ///< Compared; 0 where the values are not float or have other shapes.
  double sqnr_db = 0;    ///< 10 log10(sum before^2 / sum error^2); +inf when equal.
  double cosine = 1;
  double max_abs_error = 0;
  Distribution before, after;
};

/// Compares numbers with as many others.
ValueComparison compare_numbers(std::span<const float> before, std::span<const float> after);

/// Runs both graphs, which take the same inputs, on the samples and compares pairs of their values.
/// Streams: a batch's values are forgotten before the next. Bit-identical at any thread count.
std::vector<ValueComparison> compare_values(const Graph& before, const Graph& after,
                                            const std::vector<ValuePair>& pairs,
                                            const Dataset& data,
                                            const std::vector<int64_t>& samples,
                                            const RunOptions& options);

}  // namespace pare
