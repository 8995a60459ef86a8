#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "exec/plan.h"

namespace pare {

struct EngineOptions {
  /// What becomes of the graph's weights once a plan holds them packed.
  enum class Weights : uint8_t {
    kKept,      ///< They stay for the next plan.
    kReleased,  ///< Held once, where nobody else has the graph; inputs come in one size only.
  };

  std::vector<ValueId> observed;  ///< What hooks will want to see.
  ElementOrder order = ElementOrder::kRowMajor;
  Weights weights = Weights::kKept;
};

/// Runs a graph at whatever extents its inputs come in, with a plan for each, compiled when it is
/// first needed. Thread-safe; every run is on the calling thread alone, so results do not depend on
/// how many run at once.
class Engine {
 public:
  /// Keeps a copy of the graph (no weights are copied).
  explicit Engine(Graph graph, EngineOptions options = {});

  /// What execute() returns, up to the rounding of float sums. `hook` sees inputs and observed
  /// values; a tensor it is given is good until it returns, unless it copies the elements.
  std::vector<Tensor> run(const std::vector<Tensor>& inputs, const ValueHook& hook = {}) const;

 private:
  const Plan& plan_for(const std::vector<Tensor>& inputs) const;

  EngineOptions options_;
  mutable std::mutex mutex_;
  mutable Graph graph_;
  mutable std::map<std::vector<Shape>, std::unique_ptr<Plan>> plans_;
};

}  // namespace pare
