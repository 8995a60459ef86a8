#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "cost/cost.h"
#include "ir/graph.h"
#include "report/device_report.h"

namespace pare {

/// One model and what one inference of it is estimated to cost.
struct ModelReport {
  std::string model;   ///< File, as the user named it.
  std::string sha256;  ///< Of the file; empty when not taken.
  Graph graph;
  Cost cost;  ///< Of `graph` under `options`.
  CostOptions options;
  double rate = 1000;  ///< Inferences per second that power is given at.
  std::optional<DeviceReport> device;
};

/// The node's name, or its first output's when it has none.
std::string layer_name(const Graph& graph, const Node& node);

enum class LayerRows : uint8_t {
  kNone,  ///< Totals only.
  kWork,  ///< Nodes with work of their own.
  kAll,
};

/// For the terminal: a table of the layers and one of the totals, ending in what they assume.
/// Tables are at most `width` characters wide (0: no limit), here and in the functions like it.
std::string to_table(const ModelReport& report, LayerRows rows, size_t width = 0);

/// {model, totals: {macs, gop, parameters, weight_bytes, energy_joules, power_watts, ...},
///  layers: [{name, op, macs, ...}], device, ...}; docs/cli.md names every key.
std::string to_json(const ModelReport& report);

/// "2 nodes are not in these figures (unknown operator or shape): ", names to follow.
std::string not_counted(size_t nodes);

/// The four lines of the ledger and their sum, before and after where `after` is given.
std::string energy_ledger(const CostTotals& before, const CostTotals* after, double rate,
                          size_t width = 0);

}  // namespace pare
