#pragma once

#include <CLI/CLI.hpp>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "calib/dataset.h"
#include "cli/console.h"
#include "config/pipeline.h"

namespace pare {

/// Passes look at a few hundred samples; more would only be read and checked.
constexpr int64_t kCalibrationSamples = 4096;

/// --data and what is done to samples (data_options.h), also from a pipeline's `data:` block.
struct DataArguments {
  std::string data;
  int64_t limit = 0;                         ///< 0: all.
  std::map<std::string, std::string> words;  ///< By key, as given; empty where not.

  CLI::Option* add_to(CLI::App& command, const std::string& purpose);
  /// What was given, for reports.
  std::map<std::string, std::string> given() const;
  /// Opens the samples and looks at them before any work (Dataset::prepare()); says on the console
  /// what the user should know of them. `block` comes first, options of the command line change it.
  Dataset open(const Graph& graph, const std::optional<Options>& block, int threads,
               Console& console) const;
};

/// Class labels of the samples of `data`, in its order: from `path`, a .npy of whole numbers for
/// every sample found or a CSV of lines "file,class", else from the folders images lie in; empty
/// where neither says. `offset` is added to each.
std::vector<int64_t> read_labels(const std::string& path, const Dataset& data, int64_t offset);

}  // namespace pare
