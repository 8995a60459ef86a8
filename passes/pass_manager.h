#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "ir/lineage.h"
#include "passes/pass.h"

namespace pare {

/// How PassManager checks, and what it leaves behind.
struct PassManagerOptions {
  /// Samples, spread over the data, whose outputs are compared around every pass.
  int64_t compare_samples = 64;
  /// Largest error an exact pass may make, relative to an output's largest absolute value.
  double tolerance = 1e-3;
  /// Sees each record as soon as its pass is done, so a long run reports as it goes.
  std::function<void(const PassRecord&)> on_record;
  /// Where a reproducer of a failed pass goes: model, one-pass pipeline and message. Written when
  /// both are given; `write_model` writes the model into the folder.
  std::string reproducer_dir;
  std::function<void(const Graph&, const std::string& dir)> write_model;
};

/// What a run of passes leaves behind.
struct PassRun {
  std::vector<PassRecord> passes;
  Lineage lineage;  ///< From the graph the run began with to what it is now.
};

/// Runs passes in order and looks after them.
///
/// Around each pass: snapshot, time, Graph::revision(); after one that changed the graph: types,
/// verify(), cost, and with data the outputs on samples. Those are compared with the outputs of the
/// graph the run began with (PassRecord::numerics) and, for an exact pass, with those right before
/// it: an exact pass that changes them is an Error(kInternal). Where the model cannot be executed
/// the comparison is left out, with a warning.
class PassManager {
 public:
  explicit PassManager(PassManagerOptions options = {}) : options_(std::move(options)) {}

  /// `pipeline` is the text of a pipeline of this pass only (PassSpec::text), for the reproducer.
  void add(std::unique_ptr<Pass> pass, std::string pipeline = {});

  /// Throws Error naming the pass. The graph is then what it was before that pass.
  PassRun run(Graph& graph, PassContext& context) const;

 private:
  struct Step {
    std::unique_ptr<Pass> pass;
    std::string pipeline;
  };
  void check_data(const Graph& graph, const PassContext& context) const;
  Error with_reproducer(const Error& error, const Graph& before, const Step& step) const;

  PassManagerOptions options_;
  std::vector<Step> steps_;
};

}  // namespace pare
