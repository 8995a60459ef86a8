#include "report/run_report.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "report/json.h"
#include "report/model_report.h"
#include "support/text_table.h"

namespace pare {
namespace {

using Align = TextTable::Align;

std::string stat_text(const std::variant<int64_t, double, std::string>& stat) {
  struct Print {
    std::string operator()(int64_t x) const {
      return x < 0 ? std::to_string(x) : with_commas(static_cast<uint64_t>(x));
    }
    std::string operator()(double x) const { return digits(x, 4); }
    std::string operator()(const std::string& x) const { return printable(x); }
  };
  return std::visit(Print{}, stat);
}

std::vector<std::string> row(const std::string& name, const CostTotals& totals, double rate) {
  return {name,
          digits(totals.gop(), 4),
          with_commas(totals.parameters),
          human_bytes(totals.weight_bytes),
          human_bytes(totals.activation_bytes),
          si(totals.joules(), "J"),
          si(totals.watts(rate), "W")};
}

std::string pass_table(const RunReport& report) {
  TextTable table({{"after", Align::kLeft},
                   {"GOP"},
                   {"parameters"},
                   {"weights"},
                   {"activations"},
                   {"energy"},
                   {"power"},
                   {"agreement"},
                   {"SQNR dB"},
                   {"time"}});
  table.add_row(row("(as read)", report.before.totals, report.rate));
  for (const PassRecord& record : report.passes) {
    std::vector<std::string> cells = row(record.pass, record.after.totals, report.rate);
    if (const auto& numerics = record.numerics) {
      cells.push_back(digits(100 * numerics->agreement, 4) + " %");
      cells.push_back(digits(numerics->sqnr_db, 3));
    } else {
      cells.insert(cells.end(), 2, "-");
    }
    cells.push_back(human_seconds(record.seconds));
    table.add_row(std::move(cells));
  }
  const CostTotals &before = report.before.totals, &after = report.after.totals;
  const auto ratio = [](auto a, auto b) {
    return change(static_cast<double>(a), static_cast<double>(b));
  };
  table.add_rule();
  table.add_row({"change", ratio(before.macs, after.macs),
                 ratio(before.parameters, after.parameters),
                 ratio(before.weight_bytes, after.weight_bytes),
                 ratio(before.activation_bytes, after.activation_bytes),
                 ratio(before.joules(), after.joules()), ratio(before.joules(), after.joules()), "",
                 "", human_seconds(report.seconds)});
  return table.str();
}

std::string stat_line(const PassRecord& record, StatLines lines) {
  constexpr size_t kFewWords = 4;
  const auto is_word = [](const auto& entry) {
    return std::holds_alternative<std::string>(entry.second);
  };
  const auto words = static_cast<size_t>(std::ranges::count_if(record.stats, is_word));
  const bool hide_words = lines == StatLines::kShort && words > kFewWords;
  std::string facts = record.changed ? "" : "nothing to do";
  for (const auto& entry : record.stats) {
    if (hide_words && is_word(entry)) continue;
    facts += (facts.empty() ? "" : ", ") + entry.first + " " + stat_text(entry.second);
  }
  if (hide_words) facts += " (" + std::to_string(words) + " details more with -v or --report)";
  return facts;
}

std::string pass_lines(const RunReport& report, StatLines lines) {
  std::string text;
  for (const PassRecord& record : report.passes) {
    const std::string facts = stat_line(record, lines);
    if (!facts.empty()) text += record.pass + ": " + facts + "\n";
  }
  return text.empty() ? text : text + "\n";
}

/// What the columns agreement and SQNR compare, where any pass has them.
std::string numerics_line(const RunReport& report) {
  for (const PassRecord& record : report.passes)
    if (record.numerics)
      return "agreement (same best class) and SQNR against the model as read, on " +
             std::to_string(record.numerics->samples) + " samples\n";
  return {};
}

Json to_json(const PassStats& stats) {
  Json json = Json::object();
  for (const auto& [key, stat] : stats)
    std::visit([&, &name = key](const auto& x) { json[name] = x; }, stat);
  return json;
}

Json to_json(const PassRecord& record, double rate) {
  return {{"name", record.pass},
          {"seconds", record.seconds},
          {"changed", record.changed},
          {"before", to_json(record.before.totals, rate)},
          {"after", to_json(record.after.totals, rate)},
          {"numerics", to_json(record.numerics)},
          {"stats", to_json(record.stats)}};
}

Json to_json(const std::optional<LayerChange::Side>& side, double rate) {
  if (!side) return {};
  Json json = {{"channels", side->channels > 0 ? Json(side->channels) : Json()},
               {"weight_type", side->weight_type.empty() ? Json() : Json(side->weight_type)}};
  json.update(to_json(side->cost, rate));
  return json;
}

Json to_json(const LeftAlone& entry) {
  const auto number = [](const std::optional<int64_t>& x) { return x ? Json(*x) : Json(); };
  return {{"name", entry.name},
          {"channels", number(entry.channels)},
          {"pinned", number(entry.pinned)},
          {"reason", entry.reason}};
}

}  // namespace

std::string to_table(const RunReport& report, StatLines lines) {
  std::string text = pass_table(report) + "\n" + pass_lines(report, lines) +
                     energy_ledger(report.before.totals, &report.after.totals, report.rate) + "\n";
  if (!report.uncosted.empty())
    text += not_counted(report.uncosted.size()) + printable(report.uncosted.front()) +
            (report.uncosted.size() > 1 ? ", ...\n" : "\n");
  return text + numerics_line(report) + "GOP counts 2 operations per MAC; power at " +
         digits(report.rate, 4) + " inferences/s; " + describe(report.cost) + "\n";
}

std::string to_json(const RunReport& report) {
  Json passes = Json::array();
  for (const PassRecord& record : report.passes) passes.push_back(to_json(record, report.rate));
  Json layers = Json::array(), left = Json::array();
  for (const LayerChange& layer : report.layers)
    layers.push_back({{"name", layer.name},
                      {"op", layer.op},
                      {"before", to_json(layer.before, report.rate)},
                      {"after", to_json(layer.after, report.rate)}});
  for (const LeftAlone& entry : report.left_alone) left.push_back(to_json(entry));
  return to_text(Json{{"tool", report.tool},
                      {"model", report.model},
                      {"model_sha256", report.model_sha256},
                      {"output", report.output},
                      {"pipeline", report.pipeline},
                      {"pipeline_text", report.pipeline_text},
                      {"options", report.options},
                      {"estimate", to_json(report.cost, report.rate)},
                      {"seconds", report.seconds},
                      {"totals_before", to_json(report.before.totals, report.rate)},
                      {"totals_after", to_json(report.after.totals, report.rate)},
                      {"uncosted", report.uncosted},
                      {"warnings", report.warnings},
                      {"passes", std::move(passes)},
                      {"left_alone", std::move(left)},
                      {"layers", std::move(layers)}});
}

}  // namespace pare
