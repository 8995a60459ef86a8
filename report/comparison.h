#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "report/figures.h"
#include "report/model_report.h"

namespace pare {

/// One side of `pare compare`: a model as it is, or the result a run report describes.
struct Candidate {
  struct Layer {
    std::string name, op;
    uint64_t macs = 0;
  };
  std::string name;
  CostTotals totals;
  double rate = 1000;         ///< Inferences per second that power is given at.
  std::string estimate;       ///< Table and convention, "horowitz-45nm, mac".
  std::vector<Layer> layers;  ///< With MACs.
  /// agreement, kl, sqnr_db and cosine against the model as read, of a run on data.
  std::map<std::string, double> measured;
};

/// What became of a rule of --fail-if (report/rules.h).
struct RuleOutcome {
  std::string rule;
  bool failed = false;
  std::string figures;  ///< What it looked at: "gop is 8.178".
};

Candidate candidate_of(const ModelReport& report);

/// Reads the result side of a run report or of `inspect --json`. Throws Error(kInput) naming file
/// and key where it is none.
Candidate read_candidate(const std::string& path, const std::string& json_text);

/// A layer whose MACs differ; empty where a side has no such layer.
struct ChangedLayer {
  Candidate::Layer layer;
  std::optional<uint64_t> a, b;
};

/// Layers by name; those of `a` in its order, then those only `b` has.
std::vector<ChangedLayer> changed_layers(const Candidate& a, const Candidate& b);

/// Totals side by side, then the layers whose MACs differ.
std::string to_table(const Candidate& a, const Candidate& b, size_t width = 0);

/// {a: {name, totals}, b: {name, totals}, change: {macs: -0.3, ...}, layers: [{name, op, macs_a,
/// macs_b}], rules: [{rule, failed, figures}]}; change is (b - a) / a, null where a is 0.
std::string to_json(const Candidate& a, const Candidate& b, const std::vector<RuleOutcome>& rules);

}  // namespace pare
