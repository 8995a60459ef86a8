#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "calib/compare.h"
#include "calib/compare_values.h"
#include "cost/cost.h"
#include "report/device_report.h"

namespace pare {

// Inside this folder only: the parts that the JSON documents share. Infinite numbers become null.

using Json = nlohmann::ordered_json;

/// {macs, gop, ..., energy_joules, power_watts}, the `totals` of every document.
Json to_json(const CostTotals& totals, double rate);
/// What the estimate assumes: table, convention, rate, buffer.
Json to_json(const CostOptions& options, double rate);
/// {samples, agreement, kl, sqnr_db, ...}; null where there is none.
Json to_json(const std::optional<Comparison>& numerics);
/// {name, frames_per_second, reaches_rate, utilisation, padding, ...}.
Json to_json(const Graph& graph, const DeviceReport& report, double rate);
/// {sqnr_db, cosine, max_abs_error}.
Json error_json(const ValueComparison& comparison);
/// {min, max, mean, std, begin, width, counts: [...]}; null where nothing was seen.
Json to_json(const Distribution& distribution);
/// Indented, with a line feed at the end; bytes of a name that are no UTF-8 are replaced.
std::string to_text(const Json& json);

}  // namespace pare
