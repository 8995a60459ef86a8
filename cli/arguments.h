#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "config/pipeline.h"
#include "cost/cost.h"
#include "cost/device_profile.h"
#include "ir/graph.h"
#include "report/model_report.h"

namespace pare {

/// --bind: extents of symbolic dims.
struct BindArguments {
  std::vector<std::string> bind;

  void add_to(CLI::App& command);
  /// Reads a model. Throws Error(kUsage) for a symbol its inputs do not have.
  Graph load(const std::string& model) const;
};

/// --fps, --convention, --energy-table, --buffer, --device: how energy is charged.
struct CostArguments {
  double rate = 1000;
  std::string convention = "mac";
  std::string table;
  std::string buffer;     ///< Empty: the device's, or 1 MiB.
  std::string device;     ///< Only commands that offer it.
  std::string precision;  ///< Of the what-if; only commands that offer it.

  void add_to(CLI::App& command);
  void add_precision_to(CLI::App& command);
  void add_device_to(CLI::App& command);
  /// What --device names.
  std::optional<DeviceProfile> profile() const;
  CostOptions options() const;
};

/// -p and --pass: the passes to run.
struct PipelineArguments {
  std::string file;
  std::vector<std::string> passes;
  std::vector<std::string> settings;  ///< --set

  void add_to(CLI::App& command);
  void add_settings_to(CLI::App& command);
  bool empty() const { return file.empty() && passes.empty(); }
  /// The passes of the file, then those given by --pass, changed by --set.
  Pipeline read() const;
};

/// --threads; 0 stands for one a core.
struct ThreadArguments {
  int threads = 0;

  void add_to(CLI::App& command);
  int count() const;
};

/// Reads a model and counts it.
ModelReport report_model(const std::string& model, const BindArguments& bind,
                         const CostArguments& cost);

/// "1MiB", "64K", "4096" as bytes (powers of 1024).
uint64_t parse_bytes(const std::string& option, const std::string& text);

/// Checks before any work that `output` can be written: its folder exists and takes new files, and
/// it is none of `inputs`. Throws Error(kUsage) naming `option`.
void check_output(const std::string& option, const std::string& output,
                  const std::vector<std::string>& inputs);

}  // namespace pare
