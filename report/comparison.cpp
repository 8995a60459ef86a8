#include "report/comparison.h"

#include <map>
#include <nlohmann/json.hpp>

#include "report/json.h"
#include "support/text_table.h"

namespace pare {
namespace {

using Align = TextTable::Align;

template <typename T>
T number(const std::string& path, const Json& object, const char* key) {
  if (const auto it = object.find(key); it != object.end() && it->is_number()) {
    const double value = it->template get<double>();
    if (value >= 0 && value < 1e19) return it->template get<T>();
  }
  throw Error(ErrorKind::kInput, path + ": no report of this tool: no number '" + key + "'");
}

CostTotals read_totals(const std::string& path, const Json& json) {
  if (!json.is_object())
    throw Error(ErrorKind::kInput, path + ": no report of this tool: the totals are no object");
  CostTotals totals{.macs = number<uint64_t>(path, json, "macs"),
                    .other_ops = number<uint64_t>(path, json, "other_ops"),
                    .parameters = number<uint64_t>(path, json, "parameters"),
                    .weight_bytes = number<uint64_t>(path, json, "weight_bytes"),
                    .activation_bytes = number<uint64_t>(path, json, "activation_bytes"),
                    .dram_bytes = number<uint64_t>(path, json, "dram_bytes")};
  const Json energy = json.value("energy", Json::object());
  totals.mac_joules = number<double>(path, energy, "mac_joules");
  totals.other_joules = number<double>(path, energy, "other_joules");
  totals.on_chip_joules = number<double>(path, energy, "on_chip_joules");
  totals.dram_joules = number<double>(path, energy, "dram_joules");
  return totals;
}

std::string text_or_empty(const Json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_string() ? it->get<std::string>() : std::string();
}

Json change_json(double a, double b) { return a == 0 ? Json() : Json((b - a) / a); }

}  // namespace

std::vector<ChangedLayer> changed_layers(const Candidate& a, const Candidate& b) {
  std::vector<ChangedLayer> changed;
  if (a.layers.empty() || b.layers.empty()) return changed;
  std::map<std::string, uint64_t> left;
  for (const auto& layer : b.layers) left[layer.name] += layer.macs;
  for (const auto& layer : a.layers) {
    const auto match = left.find(layer.name);
    ChangedLayer entry{.layer = layer, .a = layer.macs};
    if (match != left.end()) {
      entry.b = match->second;
      left.erase(match);
    }
    if (entry.a != entry.b) changed.push_back(std::move(entry));
  }
  for (const auto& layer : b.layers) {
    const auto only = left.find(layer.name);
    if (only == left.end()) continue;
    changed.push_back({.layer = layer, .a = {}, .b = only->second});
    left.erase(only);
  }
  return changed;
}

Candidate candidate_of(const ModelReport& report) {
  Candidate candidate{.name = report.model,
                      .totals = report.cost.totals,
                      .rate = report.rate,
                      .estimate = report.options.table.name + ", " +
                                  std::string(to_string(report.options.convention))};
  for (const LayerCost& layer : report.cost.layers) {
    if (layer.cost.macs == 0) continue;
    const Node& node = report.graph.node(layer.node);
    candidate.layers.push_back({layer_name(report.graph, node), node.op, layer.cost.macs});
  }
  return candidate;
}

Candidate read_candidate(const std::string& path, const std::string& json_text) {
  const Json json = Json::parse(json_text, nullptr, false);
  if (!json.is_object())
    throw Error(ErrorKind::kInput, path + ": no report of this tool: not a JSON object");
  const bool run = json.contains("totals_after");
  if (!run && !json.contains("totals"))
    throw Error(ErrorKind::kInput,
                path + ": no report of this tool: neither 'totals_after' nor 'totals'");
  Candidate candidate{.name = path,
                      .totals = read_totals(path, json[run ? "totals_after" : "totals"])};
  const Json estimate = json.value("estimate", Json());
  if (!estimate.is_object())
    throw Error(ErrorKind::kInput, path + ": no report of this tool: no object 'estimate'");
  candidate.rate = number<double>(path, estimate, "inferences_per_second");
  candidate.estimate =
      text_or_empty(estimate, "energy_table") + ", " + text_or_empty(estimate, "convention");
  for (const Json& layer : json.value("layers", Json::array())) {
    // A run report has both sides; the result is compared.
    const Json side = run && layer.is_object() ? layer.value("after", Json()) : layer;
    if (!side.is_object()) continue;
    const auto macs = number<uint64_t>(path, side, "macs");
    if (macs > 0)
      candidate.layers.push_back({text_or_empty(layer, "name"), text_or_empty(layer, "op"), macs});
  }
  // The last pass that was measured speaks for the result.
  for (const Json& pass : json.value("passes", Json::array())) {
    const Json numerics = pass.is_object() ? pass.value("numerics", Json()) : Json();
    if (!numerics.is_object()) continue;
    for (const char* key : {"agreement", "kl", "sqnr_db", "cosine"})
      if (const auto it = numerics.find(key); it != numerics.end() && it->is_number())
        candidate.measured[key] = it->get<double>();
  }
  return candidate;
}

std::string to_table(const Candidate& a, const Candidate& b, size_t width) {
  TextTable table(
      {{"", Align::kLeft}, {a.name, Align::kRight, 40}, {b.name, Align::kRight, 40}, {"change"}});
  for (const CostFigure& figure : cost_figures()) {
    const double left = figure.of(a.totals, a.rate), right = figure.of(b.totals, b.rate);
    table.add_row({figure.title, figure.print(left), figure.print(right), change(left, right)});
  }
  std::string text = table.str(width);
  const std::vector<ChangedLayer> layers = changed_layers(a, b);
  if (!layers.empty()) {
    TextTable list({{"layers that differ", Align::kLeft, 48},
                    {"op", Align::kLeft},
                    {"MACs"},
                    {"MACs"},
                    {"change"}});
    for (const ChangedLayer& layer : layers)
      list.add_row({layer.layer.name, layer.layer.op, layer.a ? with_commas(*layer.a) : "-",
                    layer.b ? with_commas(*layer.b) : "-",
                    layer.a && layer.b
                        ? change(static_cast<double>(*layer.a), static_cast<double>(*layer.b))
                        : "-"});
    text += "\n" + list.str(width);
  }
  text +=
      "\nestimated with " + printable(a.estimate) + " at " + digits(a.rate, 4) + " inferences/s";
  if (b.estimate != a.estimate || b.rate != a.rate)
    text += " against " + printable(b.estimate) + " at " + digits(b.rate, 4) +
            " inferences/s: the energies are not comparable";
  return text + "\n";
}

std::string to_json(const Candidate& a, const Candidate& b, const std::vector<RuleOutcome>& rules) {
  Json change = Json::object(), layers = Json::array(), outcomes = Json::array();
  for (const RuleOutcome& outcome : rules)
    outcomes.push_back(
        {{"rule", outcome.rule}, {"failed", outcome.failed}, {"figures", outcome.figures}});
  for (const CostFigure& figure : cost_figures())
    change[figure.key] = change_json(figure.of(a.totals, a.rate), figure.of(b.totals, b.rate));
  for (const ChangedLayer& layer : changed_layers(a, b))
    layers.push_back({{"name", layer.layer.name},
                      {"op", layer.layer.op},
                      {"macs_a", layer.a ? Json(*layer.a) : Json()},
                      {"macs_b", layer.b ? Json(*layer.b) : Json()}});
  const auto side = [](const Candidate& c) {
    return Json{{"name", c.name}, {"estimate", c.estimate}, {"totals", to_json(c.totals, c.rate)}};
  };
  return to_text(Json{{"a", side(a)},
                      {"b", side(b)},
                      {"change", std::move(change)},
                      {"layers", std::move(layers)},
                      {"rules", std::move(outcomes)}});
}

}  // namespace pare
