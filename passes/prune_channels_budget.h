#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "passes/prune_channels_families.h"

namespace pare {

/// What a pruning budget counts.
enum class Measure : uint8_t { kMacs, kParameters };

/// A budget as the user writes it: "-40%", "75M", "0.6G", "120000".
struct Budget {
  Measure measure = Measure::kMacs;
  double amount = 0;  ///< Absolute, or the share to remove in (0, 1) when `relative`.
  bool relative = true;

  /// Throws Error(kUsage) for text that is no such thing.
  static Budget parse(Measure measure, const std::string& text);
  /// What may remain of `before`.
  double target(double before) const;
};

/// Predicts MACs or parameters of the graph without doomed groups, without shrinking it.
class SizeModel {
 public:
  /// The graph behind `slots` and `axes` must outlive this.
  SizeModel(const Graph& graph, const AxisMap& axes, Measure measure);
  /// `doomed` by group.
  double without(const std::vector<bool>& doomed) const;
  /// Families, by number, whose sizes depend on each other or are the same; `family_of` by group,
  /// `count` for a group of none.
  std::vector<std::set<size_t>> neighbours(const std::vector<size_t>& family_of,
                                           size_t count) const;

 private:
  /// `losses` as AxisMap::losses(), empty for none.
  double node_macs(NodeId id, const std::vector<int64_t>& losses) const;

  const Graph& graph_;
  const AxisMap& axes_;
  Measure measure_;
  double fixed_ = 0;              ///< What no removal changes.
  std::vector<NodeId> nodes_;     ///< The nodes whose MACs change.
  std::vector<ValueId> weights_;  ///< The parameters that shrink.
};

/// How much every family keeps; Family::least says more of some.
struct AllocationLimits {
  int64_t min_channels = 4;
  int64_t multiple = 1;       ///< Channels kept are a multiple, unless all are kept.
  double smallest_share = 0;  ///< No family keeps less than this share of its groups.
};

/// Numbers of groups a family may keep under the limits, descending; the first is all of them.
std::vector<int64_t> legal_counts(const Family& family, const AllocationLimits& limits);

/// The axes that groups of several families share, by group.
class SharedAxes {
 public:
  SharedAxes(const AxisMap& axes, uint32_t group_count);

 private:
  friend class AxisGuard;
  std::vector<size_t> begin_, sets_;  ///< Exclusive sets of group g: sets_[begin_[g], begin_[g+1]).
  std::vector<size_t> sizes_;         ///< By exclusive set.
};

/// Watches that no axis which parts of several families share is emptied.
class AxisGuard {
 public:
  /// `axes` must outlive this.
  explicit AxisGuard(const SharedAxes& axes) : axes_(axes), left_(axes.sizes_) {}
  /// Takes the groups away, all or (false) none.
  bool take(std::span<const uint32_t> groups);
  bool take(uint32_t group) { return take(std::span(&group, 1)); }

 private:
  const SharedAxes& axes_;
  std::vector<size_t> left_;  ///< Groups left, by exclusive set.
};

/// A family with its groups in the order they should go, and how much each one matters.
struct RankedFamily {
  const Family* family = nullptr;
  std::vector<uint32_t> order;  ///< Least important first.
  std::vector<double> score;    ///< Of each in `order`, comparable between families.
};

/// Dooms groups at the same ratio in every family, one channel step at a time, until the model
/// predicts at most `target`; of steps at the same ratio the least important goes first. Returns
/// the doomed groups, or nothing where the limits do not allow to get there.
std::optional<std::vector<bool>> allocate_uniform(const std::vector<RankedFamily>& families,
                                                  const AxisMap& axes, const SizeModel& model,
                                                  const AllocationLimits& limits,
                                                  uint32_t group_count, double target);

/// The groups that go when every family keeps as little as the limits allow.
std::vector<bool> allocate_least(const std::vector<Family>& families, const AxisMap& axes,
                                 const AllocationLimits& limits, uint32_t group_count);

}  // namespace pare
