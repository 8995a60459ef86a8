#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ir/graph.h"
#include "support/disjoint_sets.h"

namespace pare {

/// Axis `axis` of value `value`.
struct Dim {
  ValueId value;
  int axis;
  bool operator==(const Dim&) const = default;
};

/// Which slices of which tensors must be removed together.
///
/// A slot is one index of one axis of one value: channel 3 of `conv1.weight` axis 0, say. Each op
/// ties the slots it couples (OpDef::tie); the classes of the resulting equivalence are the pruning
/// groups. A group is pinned, that is never removed, when it reaches a graph input or output, an
/// operator without a tie rule, or an axis a rule declares fixed; pin() says which. A rule has to
/// say something about every axis of every operand: analyze() throws Error(kInternal) for one it
/// left out, because silence there would mean a wrong model.
///
/// Idea: dependency groups of Fang et al., "DepGraph: Towards Any Structural Pruning", CVPR 2023,
/// here at index granularity, which makes concat, split, flatten and grouped convolution plain ties
/// instead of index mappings.
class ChannelSlots {
 public:
  /// Why no index of a group may go: a rule or the model's interface needs it.
  struct Pin {
    Dim dim;
    int64_t index;               ///< -1: the whole axis.
    std::optional<NodeId> node;  ///< Empty: the model's interface.
  };

  /// Runs every op's tie rule. Graph inputs and outputs are pinned: their shapes are the model's
  /// contract. `open` lists axes of outputs that may shrink all the same (class reduction); with
  /// such an axis Softmax and its kin let it through.
  static ChannelSlots analyze(const Graph& graph, const std::vector<Dim>& open = {});

  // -- For tie rules (ops/) ----------------------------------------------------
  /// Index i of `a` is index i of `b`. The extents must agree.
  void tie(Dim a, Dim b) { tie_blocks(a, b, 1); }
  /// Index i of `a` is index `offset` + i of `b`, for every i of `a` (concat, split).
  void tie_at(Dim a, Dim b, int64_t offset);
  /// Index i of `a` is the `block` indices from i * `block` on of `b` (flatten). The extents must
  /// agree: extent(a) * block == extent(b).
  void tie_blocks(Dim a, Dim b, int64_t block);
  /// Index i of `a` is every index j of `b` with (j / inner) % extent(a) == i: `a` became the
  /// middle one of three axes that were merged into `b`, with `inner` elements behind it (reshape).
  void tie_strided(Dim a, Dim b, int64_t inner);
  /// Index `i` of `a` is index `j` of `b` (gather, slice with steps).
  void tie_one(Dim a, int64_t i, Dim b, int64_t j);
  /// Indices that agree modulo `period` live and die together (grouped conv).
  void tie_periodic(Dim a, int64_t period);
  /// The rule has considered this axis and ties it to nothing: each index may go by itself.
  void free(Dim dim) { touch(dim); }
  /// No index of this axis may go.
  void fix(Dim dim);
  /// One index of this axis may not go.
  void fix_one(Dim dim, int64_t index);
  /// No index of the axes of `value` that this rule has not spoken of may go.
  void fix_rest(ValueId value);
  /// True while a class reduction is analyzed: an op that mixes the indices of an axis (Softmax,
  /// ArgMax) may then let it shrink, because the kept outputs are meant to compete among
  /// themselves.
  bool reducing_classes() const { return reducing_classes_; }

  /// How many indices of this axis no rule has fixed so far, for rules with a choice
  /// (OpDef::ties_last).
  int64_t unfixed(Dim dim) const;

  // -- For passes ----------------------------------------------------------------
  uint32_t group_of(Dim dim, int64_t index) const;
  bool pinned(uint32_t group) const { return pins_[group] != kFree; }
  /// Why a group is pinned: "node 'x' (Softmax) fixes axis 1 of 'y'"; empty for a free one.
  std::string pin(uint32_t group) const;
  /// The first thing that pins a group; null for a free one.
  const Pin* pin_cause(uint32_t group) const {
    return pinned(group) ? &fixed_[pins_[group]] : nullptr;
  }
  /// Extent of a dim as analyzed.
  int64_t extent(Dim dim) const;
  /// Indices of `dim` whose group is not doomed, ascending.
  std::vector<int64_t> surviving(Dim dim, const std::function<bool(uint32_t)>& doomed) const;
  uint32_t size() const { return sets_.size(); }
  const Graph& graph() const { return *graph_; }

 private:
  static constexpr uint32_t kFree = 0xffffffffu;

  explicit ChannelSlots(const Graph& graph);
  void run_rule(NodeId id);
  void pin_interface(const std::vector<Dim>& open);
  uint32_t slot(Dim dim, int64_t index) const;
  void touch(Dim dim);
  void unite(uint32_t a, uint32_t b);
  void mark_fixed(Dim dim, int64_t first, int64_t last);

  const Graph* graph_;
  bool reducing_classes_ = false;
  std::vector<uint32_t> first_slot_;  ///< Of each value; its axes follow each other.
  mutable DisjointSets sets_;         ///< find() compresses paths.
  std::vector<Pin> fixed_;
  std::vector<bool> fixed_set_;             ///< By representative: holds a fixed slot.
  std::vector<uint32_t> pins_;              ///< By group: index into fixed_, or kFree.
  std::vector<std::vector<bool>> touched_;  ///< By value, axis: did the current rule speak of it?
  std::optional<NodeId> current_;
};

}  // namespace pare
