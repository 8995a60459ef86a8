#include "report/json.h"

#include <nlohmann/json.hpp>

namespace pare {

Json to_json(const CostTotals& totals, double rate) {
  return {{"macs", totals.macs},
          {"gop", totals.gop()},
          {"other_ops", totals.other_ops},
          {"parameters", totals.parameters},
          {"weight_bytes", totals.weight_bytes},
          {"activation_bytes", totals.activation_bytes},
          {"dram_bytes", totals.dram_bytes},
          {"energy_joules", totals.joules()},
          {"power_watts", totals.watts(rate)},
          {"energy",
           {{"mac_joules", totals.mac_joules},
            {"other_joules", totals.other_joules},
            {"on_chip_joules", totals.on_chip_joules},
            {"dram_joules", totals.dram_joules}}}};
}

Json to_json(const CostOptions& options, double rate) {
  return {{"inferences_per_second", rate},
          {"convention", to_string(options.convention)},
          {"energy_table", options.table.name},
          {"energy_table_source", options.table.source},
          {"buffer_bytes", options.buffer_bytes},
          {"tile_side", kTileSide},
          {"batch", options.batch},
          {"precision", options.precision ? Json(to_string(*options.precision)) : Json()}};
}

Json to_json(const std::optional<Comparison>& numerics) {
  if (!numerics) return nullptr;
  return {{"samples", numerics->samples},
          {"agreement", numerics->agreement},
          {"kl", numerics->kl},
          {"sqnr_db", numerics->sqnr_db},
          {"cosine", numerics->cosine},
          {"max_abs_error", numerics->max_abs_error},
          {"max_relative_error", numerics->max_relative_error}};
}

Json error_json(const ValueComparison& comparison) {
  return {{"sqnr_db", comparison.sqnr_db},
          {"cosine", comparison.cosine},
          {"max_abs_error", comparison.max_abs_error}};
}

Json to_json(const Distribution& distribution) {
  if (distribution.counts.empty()) return nullptr;
  return {{"min", distribution.low},      {"max", distribution.high},
          {"mean", distribution.mean},    {"std", distribution.deviation},
          {"begin", distribution.begin},  {"width", distribution.width},
          {"counts", distribution.counts}};
}

std::string to_text(const Json& json) {
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace pare
