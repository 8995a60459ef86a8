#include "report/run_report.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "report/json.h"
#include "report/model_report.h"
#include "support/text_table.h"

namespace pare {
namespace {

using Align = TextTable::Align;

/// A number or a word as text; tables and curves are not for a line.
struct PrintStat {
  std::string operator()(std::monostate) const { return "-"; }
  std::string operator()(int64_t x) const {
    return x < 0 ? std::to_string(x) : with_commas(static_cast<uint64_t>(x));
  }
  std::string operator()(double x) const {
    constexpr double kLargest = 1e15;  // Up to it doubles are whole without gaps.
    const bool count = x >= 0 && x < kLargest && x == std::floor(x);
    return count ? (*this)(static_cast<int64_t>(x)) : digits(x, 4);
  }
  std::string operator()(const std::string& x) const { return printable(x); }
  std::string operator()(const std::vector<double>&) const { return {}; }
  std::string operator()(const StatTable& table) const {
    return std::to_string(table.rows.size()) + " (with -v or --report)";
  }
};

bool is_curve(const StatTable& table, size_t column) {
  return std::ranges::any_of(table.rows, [&](const std::vector<StatTable::Cell>& row) {
    return column < row.size() && std::holds_alternative<std::vector<double>>(row[column]);
  });
}

/// The rows of a table, without its curves.
std::string stat_table(const StatTable& table, size_t width) {
  constexpr size_t kNameWidth = 40;
  std::vector<size_t> shown;
  std::vector<TextTable::Column> columns;
  for (size_t c = 0; c < table.columns.size(); ++c) {
    if (is_curve(table, c)) continue;
    shown.push_back(c);
    columns.push_back({table.columns[c], c == 0 ? Align::kLeft : Align::kRight, kNameWidth});
  }
  TextTable text(std::move(columns));
  for (const std::vector<StatTable::Cell>& row : table.rows) {
    std::vector<std::string> cells;
    for (size_t c : shown) cells.push_back(c < row.size() ? std::visit(PrintStat{}, row[c]) : "");
    text.add_row(std::move(cells));
  }
  return text.str(width);
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

std::string pass_table(const RunReport& report, size_t width) {
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
  return table.str(width);
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
    if (lines == StatLines::kAll && std::holds_alternative<StatTable>(entry.second)) continue;
    facts +=
        (facts.empty() ? "" : ", ") + entry.first + " " + std::visit(PrintStat{}, entry.second);
  }
  if (hide_words) facts += " (" + std::to_string(words) + " details more with -v or --report)";
  return facts;
}

std::string pass_lines(const RunReport& report, StatLines lines, size_t width) {
  std::string text;
  for (const PassRecord& record : report.passes) {
    const std::string facts = stat_line(record, lines);
    if (!facts.empty()) text += record.pass + ": " + facts + "\n";
    for (const auto& [key, stat] : record.stats) {
      const StatTable* table = std::get_if<StatTable>(&stat);
      if (table && lines == StatLines::kAll) text += "\n" + key + "\n" + stat_table(*table, width);
    }
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

/// A value as it is; a table as a list of objects by column.
struct StatJson {
  Json operator()(std::monostate) const { return nullptr; }
  Json operator()(const StatTable& table) const {
    Json rows = Json::array();
    for (const std::vector<StatTable::Cell>& row : table.rows) {
      Json& entry = rows.emplace_back(Json::object());
      for (size_t c = 0; c < row.size() && c < table.columns.size(); ++c)
        entry[table.columns[c]] = std::visit(StatJson{}, row[c]);
    }
    return rows;
  }
  template <typename T>
  Json operator()(const T& x) const {
    return x;
  }
};

Json to_json(const PassStats& stats) {
  Json json = Json::object();
  for (const auto& [key, stat] : stats) json[key] = std::visit(StatJson{}, stat);
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
               {"weight_type", side->weight_type.empty() ? Json() : Json(side->weight_type)},
               {"weight_bits", side->weight_bits > 0 ? Json(side->weight_bits) : Json()}};
  json.update(to_json(side->cost, rate));
  return json;
}

Json to_json(const LayerChange& layer, double rate) {
  Json json = {{"name", layer.name},
               {"op", layer.op},
               {"before", to_json(layer.before, rate)},
               {"after", to_json(layer.after, rate)},
               {"error", nullptr},
               {"distributions", nullptr}};
  if (const auto& measure = layer.measure) {
    json["error"] = error_json(measure->result);
    json["distributions"] = {{"weights_before", to_json(measure->weights)},
                             {"weights_after", to_json(measure->weights_now)},
                             {"result_before", to_json(measure->result.before)},
                             {"result_after", to_json(measure->result.after)}};
  }
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

std::string to_table(const RunReport& report, StatLines lines, size_t width) {
  std::string text = pass_table(report, width) + "\n" + pass_lines(report, lines, width) +
                     energy_ledger(report.before.totals, &report.after.totals, report.rate, width) +
                     "\n";
  if (!report.uncosted.empty())
    text += not_counted(report.uncosted.size()) + printable(report.uncosted.front()) +
            (report.uncosted.size() > 1 ? ", ...\n" : "\n");
  return text + numerics_line(report) + "GOP counts 2 operations per MAC; power at " +
         digits(report.rate, 4) + " inferences/s; " + describe(report.cost) + "\n";
}

std::string to_json(const RunReport& report) {
  Json passes = Json::array();
  for (const PassRecord& record : report.passes) passes.push_back(to_json(record, report.rate));
  Json layers = Json::array(), left = Json::array(), nodes = Json::array(), removed = Json::array();
  for (const LayerChange& layer : report.layers) layers.push_back(to_json(layer, report.rate));
  for (const LeftAlone& entry : report.left_alone) left.push_back(to_json(entry));
  for (const NodeOrigin& node : report.nodes)
    nodes.push_back({{"name", node.name},
                     {"op", node.op},
                     {"stands_for", node.stands_for},
                     {"made_by", node.made_by.empty() ? Json() : Json(node.made_by)}});
  for (const RemovedNode& node : report.removed)
    removed.push_back({{"name", node.name}, {"op", node.op}, {"pass", node.pass}});
  return to_text(Json{{"tool", report.tool},
                      {"build", report.build},
                      {"model", report.model},
                      {"model_sha256", report.model_sha256},
                      {"output", report.output},
                      {"output_sha256", report.output_sha256},
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
                      {"layers", std::move(layers)},
                      {"nodes", std::move(nodes)},
                      {"removed", std::move(removed)}});
}

}  // namespace pare
