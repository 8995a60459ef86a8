#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

#include "config/pipeline.h"
#include "passes/pass.h"

namespace pare {

/// --keep-classes and what belongs to it: settings of reduce-classes on the command line.
struct ClassArguments {
  std::string keep, labels, others, background, labels_out;
  std::vector<std::string> outputs;
  std::optional<int64_t> axis, classes;

  void add_to(CLI::App& command);
  /// Sets them in the pipeline's reduce-classes, or puts one before its other passes. Throws
  /// Error(kUsage) where one is given and no class is to be kept.
  void apply(Pipeline& pipeline) const;
  /// Where the labels of the kept classes go: --labels-out, else MODEL.labels.txt beside the model
  /// that is written; empty when no pass of the pipeline reduces classes.
  std::string labels_file(const Pipeline& pipeline, const std::string& model) const;
};

/// Writes one line a class, as the last reduce-classes of a run left them.
void write_labels(const std::string& path, const std::vector<PassRecord>& records);

}  // namespace pare
