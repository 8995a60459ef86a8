#include <algorithm>
#include <set>

#include "ir/graph.h"

namespace pare {
namespace {

void verify_node(const Graph& graph, NodeId id, const std::vector<bool>& defined) {
  const Node& node = graph.node(id);
  PARE_CHECK(node.alive, "a removed node is in the order");
  for (uint32_t slot = 0; slot < node.inputs.size(); ++slot) {
    if (node.inputs[slot] == kNoValue) continue;
    const Value& input = graph.value(node.inputs[slot]);
    PARE_CHECK(defined[index(node.inputs[slot])],
               "input '" + input.name + "' is used before it is produced");
    PARE_CHECK(std::ranges::count(input.uses, Use{id, slot}) == 1,
               "use list of '" + input.name + "' is wrong");
  }
  for (ValueId output : node.outputs) {
    if (output == kNoValue) continue;
    PARE_CHECK(graph.value(output).producer == id,
               "producer of '" + graph.value(output).name + "' is wrong");
    PARE_CHECK(!graph.value(output).constant, "a computed value is a constant");
  }
  const std::vector<Operand> operands = graph.operands(node);
  const bool known =
      std::ranges::all_of(operands, [](const Operand& x) { return !x || x.type->known(); });
  if (!node.def || (!known && !node.def->infers_unknown)) return;
  const std::vector<TensorType> types = node.def->infer(node, operands);
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    if (node.outputs[i] == kNoValue) continue;
    PARE_CHECK(types[i] == graph.type(node.outputs[i]),
               "recorded type " + to_string(graph.type(node.outputs[i])) + " of output " +
                   std::to_string(i) + " is stale, inference says " + to_string(types[i]));
  }
}

}  // namespace

void verify(const Graph& graph) {
  std::vector<bool> defined(graph.value_count(), false);
  std::set<std::string_view> names;
  for (ValueId id : graph.inputs()) defined[index(id)] = true;
  for (uint32_t i = 0; i < graph.value_count(); ++i) {
    const Value& value = graph.value(ValueId{i});
    defined[i] = defined[i] || value.constant;
    PARE_CHECK(names.insert(value.name).second, "two values are named '" + value.name + "'");
    PARE_CHECK(!value.constant || value.constant->type() == value.type,
               "type of constant '" + value.name + "' is not its tensor's");
    for (const Use& use : value.uses) {
      PARE_CHECK(graph.node(use.node).alive && use.slot < graph.node(use.node).inputs.size() &&
                     graph.node(use.node).inputs[use.slot] == ValueId{i},
                 "'" + value.name + "' lists a use that is none");
    }
  }
  for (NodeId id : graph.order()) {
    with_context([&] { return describe(graph.node(id)); },
                 [&] { verify_node(graph, id, defined); });
    for (ValueId output : graph.node(id).outputs) {
      if (output != kNoValue) defined[index(output)] = true;
    }
  }
  for (ValueId id : graph.outputs())
    PARE_CHECK(defined[index(id)], "graph output '" + graph.value(id).name + "' is not produced");
}

}  // namespace pare
