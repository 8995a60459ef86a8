#include "passes/graph_section.h"

#include <algorithm>

#include "config/glob.h"
#include "config/suggest.h"
#include "support/error.h"

namespace pare {
namespace {

constexpr size_t kNamesShown = 5;

/// The values whose names match, by value.
std::vector<bool> values_named(const Graph& graph, const std::string& option,
                               const std::vector<std::string>& patterns) {
  std::vector<bool> chosen(graph.value_count(), false);
  for (const std::string& pattern : patterns) {
    bool found = false;
    std::vector<std::string> known;
    for (uint32_t i = 0; i < graph.value_count(); ++i) {
      const Value& value = graph.value(ValueId{i});
      const bool input = std::ranges::find(graph.inputs(), ValueId{i}) != graph.inputs().end();
      if (!value.producer && !input) continue;
      known.push_back(value.name);
      if (!matches_glob(pattern, value.name)) continue;
      found = chosen[i] = true;
    }
    if (found) continue;
    const std::string hint = suggestion(pattern, known);
    known.resize(std::min(known.size(), kNamesShown));
    throw Error(ErrorKind::kUsage,
                option + ": no tensor's name matches '" + pattern + "'" +
                    (hint.empty() ? ", expected one such as " + joined(known) : hint));
  }
  return chosen;
}

bool any_of(const std::vector<ValueId>& values, const std::vector<bool>& flags) {
  return std::ranges::any_of(values,
                             [&](ValueId id) { return id != kNoValue && flags[index(id)]; });
}

void mark(const std::vector<ValueId>& values, std::vector<bool>& flags) {
  for (const ValueId id : values) {
    if (id != kNoValue) flags[index(id)] = true;
  }
}

}  // namespace

GraphSection::GraphSection(const Graph& graph, const std::vector<std::string>& from,
                           const std::vector<std::string>& to)
    : inside_(graph.node_count(), true), begins_(values_named(graph, "from", from)) {
  std::vector<bool> behind = begins_, before = values_named(graph, "to", to);
  const std::vector<NodeId>& order = graph.order();
  for (auto id = order.begin(); !from.empty() && id != order.end(); ++id) {
    const Node& node = graph.node(*id);
    inside_[index(*id)] = any_of(node.inputs, behind);
    if (inside_[index(*id)]) mark(node.outputs, behind);
  }
  for (auto id = order.rbegin(); !to.empty() && id != order.rend(); ++id) {
    const Node& node = graph.node(*id);
    const bool leads = any_of(node.outputs, before);
    if (leads) mark(node.inputs, before);
    inside_[index(*id)] = inside_[index(*id)] && leads;
  }
  const bool any = std::ranges::any_of(order, [&](NodeId id) { return inside_[index(id)]; });
  if (!any && !order.empty())
    throw Error(ErrorKind::kUsage, "nothing lies between from [" + joined(from) + "] and to [" +
                                       joined(to) +
                                       "], expected tensors of which the first lead to the last");
}

}  // namespace pare
