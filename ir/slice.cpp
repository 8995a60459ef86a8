#include "ir/slice.h"

#include <algorithm>
#include <set>

namespace pare {
namespace {

/// By position: the nodes of the slice, with the shape arithmetic before it that they read.
std::vector<bool> members(const Graph& graph, size_t first, size_t last) {
  const std::vector<NodeId>& order = graph.order();
  std::vector<bool> needed(graph.value_count()), members(order.size());
  for (size_t i = last; i-- > 0;) {
    const Node& node = graph.node(order[i]);
    members[i] = i >= first || std::ranges::any_of(node.outputs, [&](ValueId output) {
                   return output != kNoValue && needed[index(output)];
                 });
    if (!members[i]) continue;
    for (ValueId input : node.inputs) {
      if (input != kNoValue && graph.value(input).known) needed[index(input)] = true;
    }
  }
  return members;
}

}  // namespace

Graph slice(const Graph& graph, size_t first, size_t last) {
  const std::vector<NodeId>& order = graph.order();
  PARE_CHECK(first <= last && last <= order.size(), "a slice beyond the graph");
  Graph result(graph.ops());
  for (const auto& [domain, version] : graph.opsets()) result.set_opset(domain, version);
  for (uint32_t i = 0; i < graph.value_count(); ++i) {
    Value value = graph.value(ValueId{i});
    value.uses.clear();
    value.producer.reset();
    result.add_value(std::move(value));
  }

  const std::vector<bool> inside = members(graph, first, last);
  std::vector<bool> made(graph.value_count());
  std::set<ValueId> inputs, outputs;
  const auto read = [&](ValueId id) {
    if (id != kNoValue && !made[index(id)] && !graph.value(id).constant) inputs.insert(id);
  };
  for (size_t i = 0; i < order.size(); ++i) {
    const Node& node = graph.node(order[i]);
    if (inside[i]) {
      std::ranges::for_each(node.inputs, read);
      for (ValueId output : node.outputs) {
        if (output != kNoValue) made[index(output)] = true;
      }
      result.add_imported_node(node, node.def == nullptr);
    } else if (i >= last) {
      for (ValueId input : node.inputs) {
        if (input != kNoValue && made[index(input)]) outputs.insert(input);
      }
    }
  }
  if (last == order.size()) {
    std::ranges::for_each(graph.outputs(), read);
    result.set_outputs(graph.outputs());
  } else {
    for (ValueId output : graph.outputs()) {
      if (made[index(output)]) outputs.insert(output);
    }
    result.set_outputs({outputs.begin(), outputs.end()});
  }
  for (ValueId input : inputs) result.mark_input(input);
  return result;
}

std::vector<ValueId> computed_operands(const Graph& graph, const std::vector<NodeId>& nodes) {
  std::vector<ValueId> operands;
  std::set<ValueId> made;
  for (NodeId id : nodes) {
    const Node& node = graph.node(id);
    for (ValueId input : node.inputs) {
      if (input != kNoValue && !graph.constant(input) && !made.contains(input) &&
          std::ranges::find(operands, input) == operands.end())
        operands.push_back(input);
    }
    made.insert(node.outputs.begin(), node.outputs.end());
  }
  return operands;
}

std::vector<ValueId> results_of(const Graph& graph, const std::vector<NodeId>& nodes,
                                const std::vector<ValueId>& wanted) {
  std::set<ValueId> read;
  for (NodeId id : nodes) read.insert(graph.node(id).inputs.begin(), graph.node(id).inputs.end());
  std::vector<ValueId> results, besides;
  for (NodeId id : nodes) {
    for (ValueId output : graph.node(id).outputs) {
      if (output == kNoValue) continue;
      if (!read.contains(output)) {
        results.push_back(output);
      } else if (std::ranges::find(wanted, output) != wanted.end()) {
        besides.push_back(output);
      }
    }
  }
  results.insert(results.end(), besides.begin(), besides.end());
  return results;
}

Graph slice(const Graph& graph, const std::vector<NodeId>& nodes,
            const std::vector<ValueId>& wanted) {
  Graph result(graph.ops());
  for (const auto& [domain, version] : graph.opsets()) result.set_opset(domain, version);
  std::map<ValueId, ValueId> copies;
  const auto copy = [&](ValueId& value) {
    if (value == kNoValue) return;
    const auto [place, is_new] = copies.emplace(value, kNoValue);
    if (is_new) {
      Value fresh = graph.value(value);
      fresh.uses.clear();
      fresh.producer.reset();
      if (fresh.dynamic) fresh.known = nullptr;  // It is of the bound batch.
      place->second = result.add_value(std::move(fresh));
    }
    value = place->second;
  };
  for (ValueId input : computed_operands(graph, nodes)) {
    copy(input);
    result.mark_input(input);
  }
  for (NodeId id : nodes) {
    Node node = graph.node(id);
    std::ranges::for_each(node.inputs, copy);
    std::ranges::for_each(node.outputs, copy);
    const bool opaque = node.def == nullptr;
    result.add_imported_node(std::move(node), opaque);
  }
  std::vector<ValueId> outputs = results_of(graph, nodes, wanted);
  std::ranges::for_each(outputs, copy);
  result.set_outputs(std::move(outputs));
  return result;
}

}  // namespace pare
