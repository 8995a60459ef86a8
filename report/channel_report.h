#pragma once

#include <optional>
#include <string>
#include <vector>

#include "ir/graph.h"
#include "passes/explain_channels.h"

namespace pare {

/// What a pruning budget would do, by set.
struct PruningForecast {
  Measure measure = Measure::kMacs;
  double before = 0, target = 0, after = 0;
  std::vector<PlannedSet> sets;  ///< By ChannelMap::sets.
};

/// What `pare explain` found out about a model.
struct ChannelReport {
  std::string model;  ///< File, as the user named it.
  const Graph& graph;
  ChannelMap map;
  std::optional<PruningForecast> forecast;
};

/// Keeps the sets and pinned layers one of whose layers' names matches a pattern (* and ?). Throws
/// Error(kUsage) naming a few sets when none does.
void select(ChannelReport& report, const std::string& pattern);

/// For the terminal: the sets, the forecast where there is one, the pinned layers.
std::string to_table(const ChannelReport& report, size_t width = 0);
/// For the terminal: everything about each set and pinned layer.
std::string to_details(const ChannelReport& report);
/// {model, macs, sets: [...], pinned: [...], forecast}; docs/cli.md names every key.
std::string to_json(const ChannelReport& report);

}  // namespace pare
