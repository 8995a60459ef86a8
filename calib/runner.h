#pragma once

#include <functional>
#include <string>
#include <vector>

#include "calib/dataset.h"
#include "ir/graph.h"
#include "support/progress.h"

namespace pare {

/// How forward passes over samples are spread and reported.
struct RunOptions {
  int threads = 1;
  int64_t batch = 8;  ///< Images a task; clipped to what the model takes.
  Progress progress;
  std::string stage = "running";  ///< Name of the work, for progress.
};

/// Runs `graph` on the given samples and returns, for each graph output, one tensor with all
/// samples along axis 0, in their order. Bit-identical at any thread count.
std::vector<Tensor> run_outputs(const Graph& graph, const Dataset& data,
                                const std::vector<int64_t>& samples, const RunOptions& options);

}  // namespace pare
