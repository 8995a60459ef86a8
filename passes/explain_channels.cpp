#include "passes/explain_channels.h"

#include <algorithm>
#include <map>
#include <set>

namespace pare {
namespace {

double macs_of(const Graph& graph, const Node& node) {
  const auto known = [&](ValueId id) { return id == kNoValue || graph.type(id).known(); };
  if (!node.def || !node.def->macs || !std::ranges::all_of(node.inputs, known) ||
      !std::ranges::all_of(node.outputs, known))
    return 0;
  return static_cast<double>(node.def->macs(node, graph.operands(node), graph.output_types(node)));
}

/// "axis 1 of 'y'", or "index 3 of ..." where only one index is needed.
std::string place(const Graph& graph, const ChannelSlots::Pin& pin) {
  const std::string axis =
      "axis " + std::to_string(pin.dim.axis) + " of '" + graph.value(pin.dim.value).name + "'";
  return pin.index < 0 ? axis : "index " + std::to_string(pin.index) + " of " + axis;
}

std::string interface_reason(const Graph& graph, const ChannelSlots::Pin& pin) {
  const bool output = graph.is_output(pin.dim.value);
  return "they are " + place(graph, pin) + ", " + (output ? "an output" : "an input") +
         " of the model, whose shape stays";
}

/// A clause that follows "cannot be removed: ".
std::string reason_of(const Graph& graph, const ChannelSlots::Pin& pin) {
  if (!pin.node) return interface_reason(graph, pin);
  const Node& node = graph.node(*pin.node);
  const auto unknown = [&](ValueId id) { return id != kNoValue && !graph.type(id).known(); };
  if (!node.def)
    return describe(node) + (graph.ops().find(node.domain, node.op)
                                 ? " holds subgraphs, which pare does not look into"
                                 : " is an operator pare does not know");
  if (!node.def->tie) return describe(node) + " has no rule for removing channels";
  if (std::ranges::any_of(node.inputs, unknown) || std::ranges::any_of(node.outputs, unknown))
    return describe(node) + " has an operand or a result of unknown shape";
  return describe(node) + " needs all of " + place(graph, pin) + " (" +
         std::string(node.def->channels) + ")";
}

int64_t surviving(const ChannelSlots& slots, Dim dim, const std::vector<bool>& doomed) {
  return static_cast<int64_t>(
      slots.surviving(dim, [&](uint32_t group) { return doomed[group]; }).size());
}

class ChannelExplainer {
 public:
  ChannelExplainer(const Graph& graph, const AllocationLimits& limits)
      : graph_(graph), limits_(limits), slots_(ChannelSlots::analyze(graph)) {}

  ChannelMap run() {
    const std::vector<Family> families = find_families(graph_, slots_);
    for (const Family& family : families) {
      ChannelSet& set = map_.sets.emplace_back();
      set.family = family;
      set.name = name_of(graph_, family);
      set.channels = slots_.extent(family.widest);
    }
    find_members();
    measure_savings(families);
    find_pinned();
    return std::move(map_);
  }

 private:
  template <typename Body>
  void for_slots(Body body) const {
    for (uint32_t i = 0; i < graph_.value_count(); ++i) {
      const TensorType& type = graph_.type(ValueId{i});
      const int rank = type.known() ? static_cast<int>(type.shape.size()) : 0;
      for (int axis = 0; axis < rank; ++axis) {
        for (int64_t k = 0; k < slots_.extent({ValueId{i}, axis}); ++k)
          body(ValueId{i}, slots_.group_of({ValueId{i}, axis}, k));
      }
    }
  }

  /// Sorts every node that touches a set into coupling and passing ones, and sums their MACs.
  void find_members() {
    std::map<uint32_t, size_t> set_of;
    for (size_t s = 0; s < map_.sets.size(); ++s) {
      for (uint32_t group : map_.sets[s].family.groups) set_of[group] = s;
    }
    std::vector<std::set<size_t>> sets_at(graph_.value_count());
    for_slots([&](ValueId id, uint32_t group) {
      const auto entry = set_of.find(group);
      if (entry != set_of.end()) sets_at[index(id)].insert(entry->second);
    });
    for (NodeId id : graph_.order()) {
      const Node& node = graph_.node(id);
      const double macs = macs_of(graph_, node);
      map_.macs += macs;
      std::map<size_t, int> operands;  // Computed operands, by set.
      for (ValueId input : node.inputs) {
        if (input == kNoValue) continue;
        for (size_t s : sets_at[index(input)]) operands[s] += graph_.constant(input) ? 0 : 1;
      }
      for (ValueId output : node.outputs) {
        if (output == kNoValue) continue;
        for (size_t s : sets_at[index(output)]) operands.try_emplace(s, 0);
      }
      for (const auto& [s, count] : operands) place_node(map_.sets[s], id, count, macs);
    }
  }

  static void place_node(ChannelSet& set, NodeId id, int operands, double macs) {
    const auto is = [&](const WeightedNode& weighted) { return weighted.node == id; };
    const bool layer = std::ranges::any_of(set.family.producers, is) ||
                       std::ranges::any_of(set.family.consumers, is);
    set.macs += macs;
    if (!layer) (operands > 1 ? set.couples : set.through).push_back(id);
  }

  void measure_savings(const std::vector<Family>& families) {
    const AxisMap axes(slots_, families);
    const SizeModel model(graph_, axes, Measure::kMacs);
    for (ChannelSet& set : map_.sets) {
      const std::vector<int64_t> counts = legal_counts(set.family, limits_);
      const auto gone = counts.front() - counts.back();
      std::vector<bool> doomed(slots_.size());
      for (int64_t i = 0; i < gone; ++i) doomed[set.family.groups[static_cast<size_t>(i)]] = true;
      set.removable = set.channels - surviving(slots_, set.family.widest, doomed);
      set.saved = map_.macs - model.without(doomed);
    }
  }

  void find_pinned() {
    std::map<uint32_t, std::set<uint32_t>> values_of;  // Of the groups in question.
    std::vector<uint32_t> groups;
    for (NodeId id : graph_.order()) {
      const std::optional<WeightedNode> weighted = weighted_node(graph_, id);
      if (!weighted) continue;
      std::map<const ChannelSlots::Pin*, size_t> entry_of;
      const int64_t channels = slots_.extent(weighted->output);
      for (int64_t i = 0; i < channels; ++i) {
        const uint32_t group = slots_.group_of(weighted->output, i);
        const ChannelSlots::Pin* pin = slots_.pin_cause(group);
        if (!pin) continue;
        const auto [entry, added] = entry_of.emplace(pin, map_.pinned.size());
        if (added) {
          map_.pinned.push_back({id, channels, 0, reason_of(graph_, *pin), {}});
          groups.push_back(group);
          values_of[group];
        }
        ++map_.pinned[entry->second].pinned;
      }
    }
    for_slots([&](ValueId id, uint32_t group) {
      const auto entry = values_of.find(group);
      if (entry != values_of.end()) entry->second.insert(index(id));
    });
    for (size_t i = 0; i < map_.pinned.size(); ++i) {
      PinnedChannels& pinned = map_.pinned[i];
      const ChannelSlots::Pin& pin = *slots_.pin_cause(groups[i]);
      pinned.path = path_between(pinned.node, pin, values_of[groups[i]]);
    }
  }

  /// The nodes that hand channels from a layer on to what pins them, by the shortest way over
  /// `values`; without both ends.
  std::vector<NodeId> path_between(NodeId layer, const ChannelSlots::Pin& pin,
                                   const std::set<uint32_t>& values) const {
    std::vector<ValueId> queue = {weighted_node(graph_, layer)->output.value};
    std::map<uint32_t, std::pair<uint32_t, NodeId>> from;  // Value: value and node before it.
    from.emplace(index(queue[0]), std::pair(index(queue[0]), layer));
    for (size_t head = 0; head < queue.size() && !from.contains(index(pin.dim.value)); ++head) {
      const ValueId at = queue[head];
      for (NodeId id : nodes_at(at)) {
        const Node& node = graph_.node(id);
        for (const std::vector<ValueId>* operands : {&node.outputs, &node.inputs}) {
          for (ValueId next : *operands) {
            if (next == kNoValue || !values.contains(index(next))) continue;
            if (from.emplace(index(next), std::pair(index(at), id)).second) queue.push_back(next);
          }
        }
      }
    }
    std::vector<NodeId> path;
    auto step = from.find(index(pin.dim.value));
    while (step != from.end() && step->second.first != step->first) {
      if (step->second.second != pin.node && step->second.second != layer)
        path.push_back(step->second.second);
      step = from.find(step->second.first);
    }
    std::ranges::reverse(path);
    return path;
  }

  std::vector<NodeId> nodes_at(ValueId id) const {
    std::vector<NodeId> nodes;
    const Value& value = graph_.value(id);
    for (const Use& use : value.uses) nodes.push_back(use.node);
    if (value.producer) nodes.push_back(*value.producer);
    return nodes;
  }

  const Graph& graph_;
  const AllocationLimits& limits_;
  const ChannelSlots slots_;
  ChannelMap map_;
};

}  // namespace

ChannelMap explain_channels(const Graph& graph, const AllocationLimits& limits) {
  return ChannelExplainer(graph, limits).run();
}

std::vector<PlannedSet> explain_plan(const ChannelMap& map, const PrunePlanner& planner,
                                     const PrunePlan& plan) {
  std::vector<PlannedSet> sets;
  for (const ChannelSet& set : map.sets) {
    std::vector<bool> doomed(planner.slots().size());
    int64_t groups = 0;
    for (uint32_t group : set.family.groups) {
      doomed[group] = plan.doomed[group];
      groups += plan.doomed[group] ? 0 : 1;
    }
    PlannedSet& planned = sets.emplace_back();
    planned.kept = surviving(planner.slots(), set.family.widest, doomed);
    planned.saved = planner.before() - planner.model().without(doomed);
    const MeasuredFamilies* measured = planner.measured();
    for (size_t c = 0; measured && c < measured->curves.size(); ++c) {
      const ErrorCurve& curve = measured->curves[c];
      if (curve.family->producers[0].node == set.family.producers[0].node)
        planned.loss = predicted_loss(curve, measured->losses[c], groups);
    }
  }
  return sets;
}

}  // namespace pare
