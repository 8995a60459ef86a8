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
  /// Bytes of activations run_outputs() may hold on all threads together; 0 for as many as it
  /// takes. Batches become smaller for it first, then threads fewer.
  int64_t max_memory = 0;
  Progress progress;
  std::string stage = "running";  ///< Name of the work, for progress.
};

/// One task of for_each_batch(): some of the samples, ready to run.
struct Batch {
  int64_t index = 0;  ///< Of all batches, in sample order.
  std::vector<Tensor> inputs;
  /// Samples that count. A model of a fixed batch gets a full one; the rest repeats the last.
  int64_t samples = 0;
};

/// Batches for_each_batch() will make of `samples` samples.
int64_t batch_count(const Graph& graph, int64_t samples, const RunOptions& options);

/// Calls `body` once for each batch of the given samples, on up to RunOptions::threads threads.
///
/// How samples are cut into batches does not depend on the number of threads; a body that writes to
/// a slot of its own and is merged in order afterwards makes results bit-identical at any count.
/// Polls Progress for cancellation.
void for_each_batch(const Graph& graph, const Dataset& data, const std::vector<int64_t>& samples,
                    const RunOptions& options, const std::function<void(const Batch&)>& body);

/// Runs `graph` on the given samples and returns, for each graph output, one tensor with all
/// samples along axis 0, in their order. Bit-identical at any thread count. Of a graph that was
/// moved here the weights are held once, packed, where the samples divide into batches of one size.
/// Throws Error(kUsage) where RunOptions::max_memory is too little for the smallest batch.
std::vector<Tensor> run_outputs(Graph graph, const Dataset& data,
                                const std::vector<int64_t>& samples, const RunOptions& options);

}  // namespace pare
