#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "exec/plan.h"

namespace pare {

/// Runs a graph at whatever extents its inputs come in, with a plan for each, compiled when it is
/// first needed. Thread-safe; every run is on the calling thread alone, so results do not depend on
/// how many run at once.
class Engine {
 public:
  /// `observed` are the values hooks will want to see. Keeps a copy of the graph (no weights are
  /// copied).
  explicit Engine(Graph graph, std::vector<ValueId> observed = {});

  /// What execute() returns, up to the rounding of float sums. `hook` sees inputs and observed
  /// values; a tensor it is given is good until it returns, unless it copies the elements.
  std::vector<Tensor> run(const std::vector<Tensor>& inputs, const ValueHook& hook = {}) const;

 private:
  const Plan& plan_for(const std::vector<Tensor>& inputs) const;

  Graph graph_;
  std::vector<ValueId> observed_;
  mutable std::mutex mutex_;
  mutable std::map<std::vector<Shape>, std::unique_ptr<Plan>> plans_;
};

}  // namespace pare
