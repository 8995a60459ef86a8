#include "passes/prune_channels_families.h"

#include <algorithm>
#include <set>

#include "support/disjoint_sets.h"

namespace pare {
namespace {

/// The distinct free groups of a dim, in the order of its indices.
std::vector<uint32_t> free_groups(const ChannelSlots& slots, Dim dim) {
  std::vector<uint32_t> groups;
  std::set<uint32_t> seen;
  for (int64_t i = 0; i < slots.extent(dim); ++i) {
    const uint32_t group = slots.group_of(dim, i);
    if (!slots.pinned(group) && seen.insert(group).second) groups.push_back(group);
  }
  return groups;
}

/// Indices of a dim that are not pinned.
int64_t free_extent(const ChannelSlots& slots, Dim dim) {
  int64_t count = 0;
  for (int64_t i = 0; i < slots.extent(dim); ++i) count += !slots.pinned(slots.group_of(dim, i));
  return count;
}

bool adds(const Node& node) {
  static constexpr std::string_view kOps[] = {"Add", "Sum", "Sub", "Max", "Min", "Mean"};
  return std::ranges::find(kOps, node.op) != std::end(kOps);
}

/// Groups on the channel axes that additions of computed operands join.
std::set<uint32_t> joined_groups(const Graph& graph, const ChannelSlots& slots) {
  std::set<uint32_t> joined;
  for (NodeId id : graph.order()) {
    const Node& node = graph.node(id);
    if (!node.def || !adds(node) || !node.has_output(0)) continue;
    std::map<uint32_t, int> operands;
    for (ValueId input : node.inputs) {
      if (input == kNoValue || graph.constant(input) || !graph.type(input).known()) continue;
      std::set<uint32_t> groups;
      for (int axis = 0; axis < static_cast<int>(graph.shape(input).size()); ++axis) {
        for (uint32_t group : free_groups(slots, {input, axis})) groups.insert(group);
      }
      for (uint32_t group : groups) {
        if (++operands[group] == 2) joined.insert(group);
      }
    }
  }
  return joined;
}

}  // namespace

std::vector<Family> find_families(const Graph& graph, const ChannelSlots& slots) {
  std::vector<std::pair<WeightedNode, std::vector<uint32_t>>> outputs;
  DisjointSets joined(slots.size());
  for (NodeId id : graph.order()) {
    const std::optional<WeightedNode> weighted = weighted_node(graph, id);
    if (!weighted) continue;
    outputs.emplace_back(*weighted, free_groups(slots, weighted->output));
    for (uint32_t group : outputs.back().second) joined.unite(outputs.back().second[0], group);
  }

  std::vector<Family> families;
  std::map<uint32_t, size_t> family_of;  // By representative in `joined`.
  for (const auto& [weighted, groups] : outputs) {
    if (groups.empty()) continue;
    const auto [entry, added] = family_of.emplace(joined.find(groups[0]), families.size());
    if (added) families.emplace_back();
    Family& family = families[entry->second];
    family.producers.push_back(weighted);
    const std::set<uint32_t> known(family.groups.begin(), family.groups.end());
    std::ranges::copy_if(groups, std::back_inserter(family.groups),
                         [&](uint32_t group) { return !known.contains(group); });
  }
  for (const auto& [weighted, groups] : outputs) {
    std::set<size_t> read;
    for (uint32_t group : free_groups(slots, weighted.input)) {
      const auto entry = family_of.find(joined.find(group));
      if (entry != family_of.end()) read.insert(entry->second);
    }
    for (size_t i : read) families[i].consumers.push_back(weighted);
  }
  const std::set<uint32_t> added = joined_groups(graph, slots);
  const auto makes_channels = [&](const WeightedNode& producer) {
    return !is_depthwise(graph, producer);
  };
  for (Family& family : families) {
    family.coupled =
        std::ranges::count_if(family.producers, makes_channels) > 1 &&
        std::ranges::any_of(family.groups, [&](uint32_t group) { return added.contains(group); });
    size_t most = 0;
    for (const WeightedNode& producer : family.producers) {
      const size_t own = free_groups(slots, producer.output).size();
      if (own > most) family.widest = producer.output;
      most = std::max(most, own);
    }
    family.width =
        std::max<int64_t>(1, free_extent(slots, family.widest) / static_cast<int64_t>(most));
  }
  return families;
}

std::string name_of(const Graph& graph, const Family& family) {
  const WeightedNode& first = family.producers[0];
  const std::string& name = graph.node(first.node).name;
  return name.empty() ? graph.value(first.output.value).name : name;
}

AxisMap::AxisMap(const ChannelSlots& slots, const std::vector<Family>& families)
    : graph_(slots.graph()) {
  std::vector<bool> prunable(slots.size());
  for (const Family& family : families) {
    for (uint32_t group : family.groups) prunable[group] = true;
  }
  std::map<std::vector<uint32_t>, size_t> known;
  std::set<std::vector<uint32_t>> exclusive;
  for (uint32_t i = 0; i < graph_.value_count(); ++i) {
    const TensorType& type = graph_.type(ValueId{i});
    const int rank = type.known() ? static_cast<int>(type.shape.size()) : 0;
    for (int axis = 0; axis < rank; ++axis) {
      std::vector<uint32_t> list;
      for (int64_t k = 0; k < slots.extent({ValueId{i}, axis}); ++k) {
        const uint32_t group = slots.group_of({ValueId{i}, axis}, k);
        if (prunable[group]) list.push_back(group);
      }
      if (list.empty()) continue;
      const bool whole = static_cast<int64_t>(list.size()) == slots.extent({ValueId{i}, axis});
      const auto [entry, added] = known.emplace(list, lists_.size());
      if (added) lists_.push_back(list);
      dims_[i].push_back({axis, entry->second});
      if (!whole) continue;
      std::ranges::sort(list);
      list.erase(std::unique(list.begin(), list.end()), list.end());
      exclusive.insert(std::move(list));
    }
  }
  exclusive_.assign(exclusive.begin(), exclusive.end());
}

std::vector<int64_t> AxisMap::losses(const std::vector<bool>& doomed) const {
  std::vector<int64_t> losses;
  for (const std::vector<uint32_t>& list : lists_)
    losses.push_back(std::ranges::count_if(list, [&](uint32_t group) { return doomed[group]; }));
  return losses;
}

Shape AxisMap::shape_without(ValueId value, const std::vector<int64_t>& losses) const {
  Shape shape = graph_.type(value).shape;
  const auto axes = dims_.find(index(value));
  if (axes == dims_.end()) return shape;
  for (const Axis& axis : axes->second) shape[static_cast<size_t>(axis.axis)] -= losses[axis.list];
  return shape;
}

std::vector<std::span<const uint32_t>> AxisMap::groups_on(ValueId value) const {
  std::vector<std::span<const uint32_t>> groups;
  const auto axes = dims_.find(index(value));
  if (axes == dims_.end()) return groups;
  for (const Axis& axis : axes->second) groups.emplace_back(lists_[axis.list]);
  return groups;
}

}  // namespace pare
