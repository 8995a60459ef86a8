#include "report/channel_report.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "config/glob.h"
#include "config/suggest.h"
#include "report/json.h"
#include "report/model_report.h"
#include "support/text_table.h"

namespace pare {
namespace {

using Align = TextTable::Align;

constexpr size_t kNameWidth = 40;
constexpr size_t kNamesShown = 3;

std::string names_of(const Graph& graph, const std::vector<NodeId>& nodes, size_t most) {
  std::vector<std::string> names;
  for (size_t i = 0; i < nodes.size() && i < most; ++i)
    names.push_back(layer_name(graph, graph.node(nodes[i])) + " (" + graph.node(nodes[i]).op + ")");
  std::string text = joined(names);
  if (nodes.size() > most) text += " and " + std::to_string(nodes.size() - most) + " more";
  return text;
}

std::vector<NodeId> nodes_of(const std::vector<WeightedNode>& layers) {
  std::vector<NodeId> nodes;
  for (const WeightedNode& layer : layers) nodes.push_back(layer.node);
  return nodes;
}

/// "Add x9, Mul".
std::string kinds_of(const Graph& graph, const std::vector<NodeId>& nodes) {
  std::map<std::string, int> count;
  for (NodeId id : nodes) ++count[graph.node(id).op];
  std::vector<std::string> kinds;
  for (const auto& [op, times] : count)
    kinds.push_back(times > 1 ? op + " x" + std::to_string(times) : op);
  return kinds.empty() ? "-" : joined(kinds);
}

std::string percent(double part, double whole) {
  return whole > 0 ? digits(100 * part / whole, 3) + " %" : "-";
}

std::string set_table(const ChannelReport& report, size_t width) {
  TextTable table({{"set", Align::kLeft, kNameWidth},
                   {"channels"},
                   {"step"},
                   {"written by"},
                   {"read by"},
                   {"coupled by", Align::kLeft, 24},
                   {"MACs"},
                   {"% of all"},
                   {"removable"},
                   {"saves"}});
  for (const ChannelSet& set : report.map.sets)
    table.add_row({set.name, std::to_string(set.channels), std::to_string(set.family.width),
                   std::to_string(set.family.producers.size()),
                   std::to_string(set.family.consumers.size()), kinds_of(report.graph, set.couples),
                   si(set.macs, ""), percent(set.macs, report.map.macs),
                   std::to_string(set.removable), percent(set.saved, report.map.macs)});
  return table.str(width) +
         "A set is removed from all its layers at once, `step` channels at a time; `saves` is what "
         "the model loses\nwhen all its removable channels go.\n";
}

std::string forecast_table(const ChannelReport& report, size_t width) {
  const PruningForecast& forecast = *report.forecast;
  TextTable table(
      {{"set", Align::kLeft, kNameWidth}, {"channels"}, {"kept"}, {"change"}, {"saves"}, {"loss"}});
  double loss = 0;
  for (size_t i = 0; i < report.map.sets.size(); ++i) {
    const ChannelSet& set = report.map.sets[i];
    const PlannedSet& planned = forecast.sets[i];
    loss += planned.loss.value_or(0);
    table.add_row({set.name, std::to_string(set.channels), std::to_string(planned.kept),
                   change(static_cast<double>(set.channels), static_cast<double>(planned.kept)),
                   percent(planned.saved, forecast.before),
                   planned.loss ? digits(*planned.loss, 3) : "-"});
  }
  const bool measured = std::ranges::any_of(
      forecast.sets, [](const PlannedSet& planned) { return planned.loss.has_value(); });
  table.add_rule();
  table.add_row({"all", "", "", "", percent(forecast.before - forecast.after, forecast.before),
                 measured ? digits(loss, 3) : "-"});
  return table.str(width) +
         (measured ? "loss: what the outputs lose when only this set is pruned and the layers "
                     "behind it are fitted: KL divergence at\ntemperature 4 (times 16) for "
                     "logits, else squared error over energy; the sum is what the budget "
                     "minimises.\n"
                   : "Nothing was measured: every set gives up the same share, the smallest "
                     "filters first. --data measures losses.\n");
}

std::string forecast_line(const PruningForecast& forecast) {
  const char* unit = forecast.measure == Measure::kMacs ? "MACs" : "parameters";
  return si(forecast.before, unit) + " -> " + si(forecast.after, unit) + " (" +
         change(forecast.before, forecast.after) + "; the budget allows " +
         si(forecast.target, unit) + "), nothing was written\n";
}

/// Layers that stay for one reason, as one line.
std::string pinned_line(const Graph& graph, const std::vector<const PinnedChannels*>& layers) {
  std::vector<NodeId> nodes;
  for (const PinnedChannels* layer : layers) nodes.push_back(layer->node);
  const PinnedChannels& first = *layers[0];
  std::string line = names_of(graph, nodes, kNamesShown);
  if (first.pinned < first.channels)
    line +=
        ", " + std::to_string(first.pinned) + " of " + std::to_string(first.channels) + " channels";
  line += ": " + first.reason;
  if (layers.size() == 1 && !first.path.empty() && first.path.size() <= kNamesShown)
    line += ", reached through " + names_of(graph, first.path, kNamesShown);
  return printable(line) + "\n";
}

std::string pinned_lines(const ChannelReport& report) {
  if (report.map.pinned.empty()) return "No layer's channels are pinned.\n";
  using Key = std::pair<std::string, int64_t>;  // Reason, and how many stay of a part.
  std::vector<Key> keys;
  std::map<Key, std::vector<const PinnedChannels*>> by_reason;
  for (const PinnedChannels& pinned : report.map.pinned) {
    const Key key{pinned.reason, pinned.pinned < pinned.channels ? pinned.pinned : 0};
    if (!by_reason.contains(key)) keys.push_back(key);
    by_reason[key].push_back(&pinned);
  }
  std::string text = "Layers whose output channels stay, and why:\n";
  for (const Key& key : keys) text += "  " + pinned_line(report.graph, by_reason[key]);
  return text;
}

std::string set_details(const ChannelReport& report, size_t i) {
  const Graph& graph = report.graph;
  const ChannelSet& set = report.map.sets[i];
  constexpr size_t kAll = SIZE_MAX;
  const auto line = [](const std::string& key, const std::string& text) {
    return "  " + key + std::string(key.size() < 14 ? 14 - key.size() : 1, ' ') + printable(text) +
           "\n";
  };
  std::string text =
      "set " + printable(set.name) + (set.family.coupled ? " (residual stream)" : "") + "\n";
  text += line("channels", std::to_string(set.channels) + ", " + std::to_string(set.removable) +
                               " removable, " + std::to_string(set.family.width) + " at a time");
  text +=
      line("MACs", si(set.macs, "MACs") + " depend on it (" + percent(set.macs, report.map.macs) +
                       "); removing all that may go saves " + percent(set.saved, report.map.macs));
  text += line("written by", names_of(graph, nodes_of(set.family.producers), kAll));
  if (!set.family.consumers.empty())
    text += line("read by", names_of(graph, nodes_of(set.family.consumers), kAll));
  if (!set.couples.empty()) text += line("coupled by", names_of(graph, set.couples, kAll));
  if (!set.through.empty()) text += line("flows through", names_of(graph, set.through, kAll));
  if (report.forecast) {
    const PlannedSet& planned = report.forecast->sets[i];
    text += line("would keep", std::to_string(planned.kept) +
                                   (planned.loss ? ", loss " + digits(*planned.loss, 3) : ""));
  }
  return text + "\n";
}

Json nodes_json(const Graph& graph, const std::vector<NodeId>& nodes) {
  Json list = Json::array();
  for (NodeId id : nodes)
    list.push_back({{"name", layer_name(graph, graph.node(id))}, {"op", graph.node(id).op}});
  return list;
}

Json set_json(const Graph& graph, const ChannelSet& set) {
  return {{"name", set.name},
          {"channels", set.channels},
          {"step", set.family.width},
          {"removable", set.removable},
          {"residual", set.family.coupled},
          {"macs", set.macs},
          {"macs_saved", set.saved},
          {"written_by", nodes_json(graph, nodes_of(set.family.producers))},
          {"read_by", nodes_json(graph, nodes_of(set.family.consumers))},
          {"coupled_by", nodes_json(graph, set.couples)},
          {"through", nodes_json(graph, set.through)}};
}

Json forecast_json(const ChannelReport& report) {
  if (!report.forecast) return nullptr;
  const PruningForecast& forecast = *report.forecast;
  Json sets = Json::array();
  for (size_t i = 0; i < forecast.sets.size(); ++i)
    sets.push_back({{"name", report.map.sets[i].name},
                    {"channels", report.map.sets[i].channels},
                    {"kept", forecast.sets[i].kept},
                    {"saved", forecast.sets[i].saved},
                    {"loss", forecast.sets[i].loss ? Json(*forecast.sets[i].loss) : Json()}});
  return {{"measure", forecast.measure == Measure::kMacs ? "macs" : "params"},
          {"before", forecast.before},
          {"target", forecast.target},
          {"after", forecast.after},
          {"sets", std::move(sets)}};
}

}  // namespace

void select(ChannelReport& report, const std::string& pattern) {
  const Graph& graph = report.graph;
  const auto matches = [&](NodeId id) {
    return matches_glob(pattern, layer_name(graph, graph.node(id)));
  };
  const auto wanted = [&](const ChannelSet& set) {
    return std::ranges::any_of(nodes_of(set.family.producers), matches) ||
           std::ranges::any_of(nodes_of(set.family.consumers), matches) ||
           std::ranges::any_of(set.couples, matches) || std::ranges::any_of(set.through, matches);
  };
  std::vector<ChannelSet> sets;
  std::vector<PlannedSet> planned;
  std::vector<std::string> known;
  for (size_t i = 0; i < report.map.sets.size(); ++i) {
    known.push_back(report.map.sets[i].name);
    if (!wanted(report.map.sets[i])) continue;
    sets.push_back(report.map.sets[i]);
    if (report.forecast) planned.push_back(report.forecast->sets[i]);
  }
  std::erase_if(report.map.pinned,
                [&](const PinnedChannels& pinned) { return !matches(pinned.node); });
  if (sets.empty() && report.map.pinned.empty()) {
    const std::string hint = suggestion(pattern, known);
    known.resize(std::min(known.size(), kNamesShown));
    throw Error(
        ErrorKind::kUsage,
        "--group: no layer's name matches '" + pattern + "'" +
            (!hint.empty() || known.empty() ? hint : ", expected one such as " + joined(known)));
  }
  report.map.sets = std::move(sets);
  if (report.forecast) report.forecast->sets = std::move(planned);
}

std::string to_table(const ChannelReport& report, size_t width) {
  const size_t sets = report.map.sets.size();
  std::string text = printable(report.model) + ": " + si(report.map.macs, "MACs") + ", " +
                     std::to_string(sets) + (sets == 1 ? " set" : " sets") +
                     " of channels that can be pruned\n\n";
  if (!report.map.sets.empty() && !report.forecast) text += set_table(report, width) + "\n";
  if (report.forecast)
    text += forecast_table(report, width) + forecast_line(*report.forecast) + "\n";
  return text + pinned_lines(report);
}

std::string to_details(const ChannelReport& report) {
  std::string text;
  for (size_t i = 0; i < report.map.sets.size(); ++i) text += set_details(report, i);
  return report.map.pinned.empty() ? text : text + pinned_lines(report);
}

std::string to_json(const ChannelReport& report) {
  Json sets = Json::array(), pinned = Json::array();
  for (const ChannelSet& set : report.map.sets) sets.push_back(set_json(report.graph, set));
  for (const PinnedChannels& entry : report.map.pinned) {
    const Node& node = report.graph.node(entry.node);
    pinned.push_back({{"name", layer_name(report.graph, node)},
                      {"op", node.op},
                      {"channels", entry.channels},
                      {"pinned", entry.pinned},
                      {"reason", entry.reason},
                      {"path", nodes_json(report.graph, entry.path)}});
  }
  return to_text(Json{{"model", report.model},
                      {"macs", report.map.macs},
                      {"sets", std::move(sets)},
                      {"pinned", std::move(pinned)},
                      {"forecast", forecast_json(report)}});
}

}  // namespace pare
