#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "calib/compare.h"
#include "calib/dataset.h"
#include "cost/cost.h"
#include "ir/graph.h"
#include "support/progress.h"

namespace pare {

/// What a pass promises about the function the graph computes.
enum class Effect : uint8_t {
  kExact,  ///< Same outputs up to float rounding; the pass manager checks it.
  kLossy,  ///< Changes the outputs (pruning, quantization); the error is reported.
};

/// What a pass says about each of many things (layers, sets of channels): one row a thing.
struct StatTable {
  /// Empty where there is nothing to say; a list of numbers is a curve.
  using Cell = std::variant<std::monostate, int64_t, double, std::string, std::vector<double>>;
  std::vector<std::string> columns;  ///< The first names the thing.
  std::vector<std::vector<Cell>> rows;
};

/// What a pass leaves for the report, e.g. {"channels removed", 96}.
using PassStats = std::map<std::string, std::variant<int64_t, double, std::string, StatTable>>;

/// What a pass may use beside the graph.
struct PassContext {
  const Dataset* data = nullptr;  ///< Calibration samples; null when the user gave none.
  int threads = 1;
  uint64_t seed = 0;
  Progress progress;
  CostOptions cost;
  double rate = 1000;                            ///< Inferences per second, for power.
  std::function<void(const std::string&)> warn;  ///< One sentence for the user; may be empty.

  void warning(const std::string& sentence) const {
    if (warn) warn(sentence);
  }
};

/// One transformation of the graph, in place.
class Pass {
 public:
  virtual ~Pass() = default;
  virtual std::string_view name() const = 0;
  virtual Effect effect() const = 0;
  /// True when run() needs PassContext::data; the manager then fails early with a clear message.
  virtual bool needs_data() const { return false; }
  /// Throws Error when the graph cannot be handled. Need not report whether it changed anything:
  /// Graph::revision() tells. Leaves types inferred.
  virtual PassStats run(Graph& graph, PassContext& context) = 0;
};

/// What happened around one pass; the report is a list of these.
struct PassRecord {
  std::string pass;
  bool changed = false;
  double seconds = 0;
  Cost before, after;
  PassStats stats;
  std::optional<Comparison> numerics;  ///< Against the graph the run began with, where data is
                                       ///< given and the graph can be executed.
};

}  // namespace pare
