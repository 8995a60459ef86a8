#include "report/model_report.h"

#include <nlohmann/json.hpp>

#include "report/json.h"
#include "support/text_table.h"

namespace pare {
namespace {

using Align = TextTable::Align;

constexpr size_t kNameWidth = 40;
constexpr size_t kTypeWidth = 26;

std::string output_type(const Graph& graph, const Node& node) {
  for (ValueId output : node.outputs)
    if (output != kNoValue) return to_string(graph.type(output));
  return {};
}

/// "i8", or "f32 x i8" where the operands differ.
std::string precision(const LayerCost& layer) {
  if (layer.free) return "-";
  std::string text(to_string(layer.activation_type));
  if (layer.cost.macs > 0 && layer.weight_type != layer.activation_type &&
      layer.weight_type != DType::kUndefined)
    text += " x " + weight_precision(layer);
  return text;
}

std::string number_or_dash(uint64_t number) { return number ? with_commas(number) : "-"; }

std::string percent(double part, double whole) {
  return whole > 0 ? digits(100 * part / whole, part >= 0.1 * whole ? 3 : 2) : "-";
}

std::string layer_table(const ModelReport& report, LayerRows rows, size_t width) {
  TextTable table({{"layer", Align::kLeft, kNameWidth},
                   {"op", Align::kLeft},
                   {"output", Align::kLeft, kTypeWidth},
                   {"at", Align::kLeft},
                   {"MACs"},
                   {"other ops"},
                   {"parameters"},
                   {"energy"},
                   {"%"}});
  size_t hidden = 0;
  for (const LayerCost& layer : report.cost.layers) {
    const Node& node = report.graph.node(layer.node);
    if (layer.free && rows == LayerRows::kWork) {
      ++hidden;
      continue;
    }
    table.add_row({layer_name(report.graph, node), node.op, output_type(report.graph, node),
                   precision(layer), number_or_dash(layer.cost.macs),
                   number_or_dash(layer.cost.other_ops), number_or_dash(layer.cost.parameters),
                   si(layer.cost.joules(), "J"),
                   percent(layer.cost.joules(), report.cost.totals.joules())});
  }
  std::string text = table.str(width);
  if (hidden > 0)
    text += "(" + std::to_string(hidden) +
            " nodes without work of their own left out: constants, views, fused Q/DQ)\n";
  return text + "\n";
}

std::string uncosted_line(const ModelReport& report) {
  if (report.cost.uncosted.empty()) return {};
  constexpr size_t kNamed = 3;
  std::string text = not_counted(report.cost.uncosted.size());
  for (size_t i = 0; i < report.cost.uncosted.size() && i < kNamed; ++i) {
    const Node& node = report.graph.node(report.cost.uncosted[i]);
    text += (i ? ", " : "") + printable(layer_name(report.graph, node)) + " (" +
            printable(node.op) + ")";
  }
  return text + (report.cost.uncosted.size() > kNamed ? ", ...\n" : "\n");
}

}  // namespace

std::string layer_name(const Graph& graph, const Node& node) {
  if (!node.name.empty()) return node.name;
  for (ValueId output : node.outputs)
    if (output != kNoValue) return graph.value(output).name;
  return {};
}

std::string not_counted(size_t nodes) {
  return std::to_string(nodes) + (nodes == 1 ? " node is" : " nodes are") +
         " not in these figures (unknown operator or shape): ";
}

std::string energy_ledger(const CostTotals& before, const CostTotals* after, double rate,
                          size_t width) {
  struct Line {
    const char* name;
    double CostTotals::*joules;
  };
  constexpr Line kLines[] = {{"multiply-accumulates", &CostTotals::mac_joules},
                             {"other operations", &CostTotals::other_joules},
                             {"on-chip traffic", &CostTotals::on_chip_joules},
                             {"DRAM traffic", &CostTotals::dram_joules}};
  std::vector<TextTable::Column> columns = {
      {"estimated energy", Align::kLeft}, {"per inference"}, {"power"}};
  if (after)
    columns = {{"estimated energy", Align::kLeft},
               {"before"},
               {"after"},
               {"power before"},
               {"power after"},
               {"change"}};
  TextTable table(std::move(columns));
  const auto add = [&](const std::string& name, double a, double b) {
    if (after) {
      table.add_row(
          {name, si(a, "J"), si(b, "J"), si(a * rate, "W"), si(b * rate, "W"), change(a, b)});
    } else {
      table.add_row({name, si(a, "J"), si(a * rate, "W")});
    }
  };
  for (const Line& line : kLines)
    add(line.name, before.*line.joules, after ? after->*line.joules : 0);
  table.add_rule();
  add("total", before.joules(), after ? after->joules() : 0);
  return table.str(width);
}

std::string to_table(const ModelReport& report, LayerRows rows, size_t width) {
  const CostTotals& totals = report.cost.totals;
  std::string text = rows == LayerRows::kNone ? "" : layer_table(report, rows, width);
  TextTable table({{"total", Align::kLeft}, {""}, {"", Align::kLeft}});
  table.add_row({"MACs", with_commas(totals.macs), digits(totals.gop() / 2, 4) + " GMAC"});
  table.add_row({"operations", "", digits(totals.gop(), 4) + " GOP (2 per MAC)"});
  table.add_row({"other operations", with_commas(totals.other_ops)});
  table.add_row({"parameters", with_commas(totals.parameters)});
  table.add_row({"weights", with_commas(totals.weight_bytes), human_bytes(totals.weight_bytes)});
  table.add_row({"activations moved", with_commas(totals.activation_bytes),
                 human_bytes(totals.activation_bytes)});
  table.add_row({"activations at once, most", with_commas(report.cost.peak_activation_bytes),
                 human_bytes(report.cost.peak_activation_bytes)});
  table.add_row({"DRAM traffic", with_commas(totals.dram_bytes), human_bytes(totals.dram_bytes)});
  text += table.str(width) + "\n" + energy_ledger(totals, nullptr, report.rate, width) + "\n";
  text += uncosted_line(report);
  if (report.device)
    text +=
        to_table(report.graph, *report.device, report.rate, rows != LayerRows::kNone, width) + "\n";
  return text + "power at " + digits(report.rate, 4) + " inferences/s; " +
         describe(report.options) + "\n";
}

std::string to_json(const ModelReport& report) {
  const auto name_and_op = [&](NodeId id) {
    const Node& node = report.graph.node(id);
    return Json{{"name", layer_name(report.graph, node)}, {"op", node.op}};
  };
  const auto interface = [&](const std::vector<ValueId>& values) {
    Json list = Json::array();
    for (ValueId id : values)
      list.push_back({{"name", report.graph.value(id).name},
                      {"type", to_string(report.graph.type(id))},
                      {"symbols", report.graph.value(id).dim_symbols}});
    return list;
  };
  Json layers = Json::array(), uncosted = Json::array();
  for (const LayerCost& layer : report.cost.layers) {
    Json entry = name_and_op(layer.node);
    entry["output"] = output_type(report.graph, report.graph.node(layer.node));
    entry["activation_type"] = to_string(layer.activation_type);
    entry["weight_type"] = weight_precision(layer);
    entry["free"] = layer.free;
    entry.update(to_json(layer.cost, report.rate));
    layers.push_back(std::move(entry));
  }
  for (NodeId id : report.cost.uncosted) uncosted.push_back(name_and_op(id));
  return to_text(Json{{"model", report.model},
                      {"sha256", report.sha256},
                      {"opset", report.graph.opset()},
                      {"inputs", interface(report.graph.inputs())},
                      {"outputs", interface(report.graph.outputs())},
                      {"estimate", to_json(report.options, report.rate)},
                      {"totals", to_json(report.cost.totals, report.rate)},
                      {"peak_activation_bytes", report.cost.peak_activation_bytes},
                      {"uncosted", std::move(uncosted)},
                      {"device", report.device ? to_json(report.graph, *report.device, report.rate)
                                               : Json(nullptr)},
                      {"layers", std::move(layers)}});
}

}  // namespace pare
