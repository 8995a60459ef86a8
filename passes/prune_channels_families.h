#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "calib/weighted.h"
#include "ir/channel_slots.h"

namespace pare {

/// Channels that are pruned by one decision: the free slot groups on the output axis of one
/// weighted node, joined with those of every other weighted node they share a group with (a
/// residual stream is one family with many producers).
struct Family {
  std::vector<WeightedNode> producers;  ///< In execution order; depthwise ones among them.
  std::vector<WeightedNode> consumers;  ///< Nodes that contract these channels.
  std::vector<uint32_t> groups;         ///< In the order of the first producer's output axis.
  Dim widest;                           ///< The producers' output with the most of the groups.
  int64_t width = 1;                    ///< Channels a group takes there.
  int64_t least = 1;                    ///< Groups that stay at the least, by the user's will.
  /// A residual stream: an addition joins what several layers compute. (One that joins a layer's
  /// output with a function of itself, as in GELU, does not make one.)
  bool coupled = false;
};

/// The families of a graph, in execution order of their first producer.
std::vector<Family> find_families(const Graph& graph, const ChannelSlots& slots);

/// What a family is called: its first producer's name, or the name of that node's output where it
/// has none.
std::string name_of(const Graph& graph, const Family& family);

/// Which groups lie on which axes, for predicting shapes without shrinking anything.
class AxisMap {
 public:
  /// `slots` and its graph must outlive this. Notes the axes that touch a group in `families`.
  AxisMap(const ChannelSlots& slots, const std::vector<Family>& families);

  /// The distinct sets of groups that fill an axis completely (no pinned index among them):
  /// removing all of one set would leave an empty axis.
  const std::vector<std::vector<uint32_t>>& exclusive_sets() const { return exclusive_; }
  /// How many groups go from each of the lists of groups that lie on axes; `doomed` by group.
  std::vector<int64_t> losses(const std::vector<bool>& doomed) const;
  /// Shape of `value` without what goes.
  Shape shape_without(ValueId value, const std::vector<int64_t>& losses) const;
  /// True when some axis of `value` can shrink.
  bool shrinks(ValueId value) const { return dims_.contains(index(value)); }
  /// The groups on axes of `value`, one list an axis.
  std::vector<std::span<const uint32_t>> groups_on(ValueId value) const;

 private:
  struct Axis {
    int axis;
    size_t list;  ///< Into lists_.
  };
  const Graph& graph_;
  std::vector<std::vector<uint32_t>> lists_;  ///< Distinct: the prunable group of each index.
  std::map<uint32_t, std::vector<Axis>> dims_;
  std::vector<std::vector<uint32_t>> exclusive_;
};

}  // namespace pare
