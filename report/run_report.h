#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "passes/pass.h"
#include "report/layers.h"

namespace pare {

/// Everything a run of a pipeline leaves behind: what was asked, what each pass did.
struct RunReport {
  std::string tool;           ///< "pare 0.1.0"
  std::string build;          ///< Compiler and libraries.
  std::string model;          ///< File, as the user named it.
  std::string model_sha256;   ///< Of the file that was read.
  std::string output;         ///< File, as the user named it.
  std::string output_sha256;  ///< Of the file that was written.
  std::string pipeline;       ///< File, as the user named it; empty when passes came by --pass.
  std::string pipeline_text;  ///< What the pipeline said, so that a report can be repeated.
  std::map<std::string, std::string> options;  ///< Of the command line, as given.
  CostOptions cost;
  double rate = 1000;  ///< Inferences per second that power is given at.
  double seconds = 0;
  std::vector<PassRecord> passes;
  Cost before, after;
  std::vector<std::string> uncosted;  ///< Names of the nodes of the result that are not counted.
  std::vector<std::string> warnings;
  std::vector<LayerChange> layers;    ///< Before and after.
  std::vector<LeftAlone> left_alone;  ///< What could not be touched.
  std::vector<NodeOrigin> nodes;      ///< Of the result.
  std::vector<RemovedNode> removed;
};

/// How much a pass may say about itself on the terminal.
enum class StatLines : uint8_t {
  kShort,  ///< Numbers, and words when they are few.
  kAll,
};

/// For the terminal: GOP, parameters, bytes, energy and power before and after every pass, what
/// each pass did, and the ledger of the whole run.
std::string to_table(const RunReport& report, StatLines lines, size_t width = 0);

/// {model, pipeline, passes: [{name, seconds, before, after, numerics, stats}], totals_before,
/// totals_after, ...}; docs/cli.md names every key.
std::string to_json(const RunReport& report);

}  // namespace pare
