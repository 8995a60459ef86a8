#pragma once

#include <optional>
#include <string>
#include <vector>

#include "calib/compare.h"
#include "passes/pass.h"

namespace pare {

/// Follows the outputs of a graph on a few samples through a run of passes.
class OutputWatch {
 public:
  /// Runs `graph` on up to `samples` samples of the context's data. Without data, or where the
  /// graph cannot be run (a warning says why), the watch is blind.
  OutputWatch(const Graph& graph, const PassContext& context, int64_t samples);

  /// Runs the graph as it is now; the outputs count as the ones "right before" the next pass.
  /// Returns how far they are from those at the beginning; nothing when blind or when their shapes
  /// changed, which makes the new outputs the beginning.
  std::optional<Comparison> update(const Graph& graph, const PassContext& context);
  /// What is wrong when the pass just watched by update() promised to change nothing: the output,
  /// by how much it changed and what is allowed. Empty when nothing is.
  std::string broken_promise(const Graph& graph, double tolerance) const;

 private:
  std::vector<Tensor> outputs(const Graph& graph, const PassContext& context) const;

  std::vector<int64_t> samples_;  ///< Empty: blind.
  int64_t batch_ = 8;
  std::vector<Tensor> beginning_, before_, now_;
};

}  // namespace pare
