#pragma once

#include <map>
#include <vector>

#include "calib/observer.h"
#include "calib/runner.h"

namespace pare {

/// How the range of a value is chosen from its elements.
enum class RangeMethod : uint8_t {
  kMinMax,        ///< Everything seen.
  kPercentile,    ///< All but a small share on either side.
  kLeastSquares,  ///< The clip that minimises the squared error of 256 levels.
  kEntropy,       ///< The clip that changes the distribution least.
};

struct CalibrateOptions {
  RunOptions run;
  RangeMethod method = RangeMethod::kMinMax;
  double percentile = 99.99;  ///< Percent kept, for kPercentile.
};

/// Runs `graph` on the given samples and returns the range of each of `values`.
///
/// Streams: one pass over the samples, whatever the method. Values that are not float, were not
/// computed, or had no finite element are left out. The result belongs to this revision of the
/// graph.
std::map<ValueId, Range> calibrate(const Graph& graph, const Dataset& data,
                                   const std::vector<int64_t>& samples,
                                   const std::vector<ValueId>& values,
                                   const CalibrateOptions& options);

}  // namespace pare
