#pragma once

#include <cstdint>
#include <vector>

#include "calib/dataset.h"
#include "ir/graph.h"

namespace pare {

/// A value that is still wanted when `node` runs, though no node in between reads it.
struct HeldValue {
  ValueId value;
  NodeId node;
};

/// Runs a graph and a changed copy of it node by node on the same samples, all samples at a time,
/// and keeps every value for as long as some later node needs it.
///
/// The changed graph has every node of the original under the same id, and may have more (shape
/// arithmetic that was repaired); its weights may go on changing ahead of the node that runs. A
/// value that cannot differ (same inputs, same constants) is computed once.
class Lockstep {
 public:
  struct Settings {
    std::vector<int64_t> samples;
    int64_t batch = 8;
    int threads = 1;
    std::vector<HeldValue> held;
  };
  Lockstep(const Graph& original, const Graph& changed, const Dataset& data,
           const Settings& settings);

  /// Nodes of the changed graph, in execution order.
  const std::vector<NodeId>& order() const { return order_; }
  /// False for a node that only the changed graph has.
  bool in_original(NodeId node) const { return index(node) < original_.node_count(); }
  /// Computes `node` in the original, then in the changed graph, for all batches.
  void run_original(NodeId node);
  void run_changed(NodeId node);
  /// Computes `nodes`, in execution order, anew in the changed graph with the weights it has
  /// now, and keeps what the last one makes and what is held. Their inputs must be held.
  void run_changed_again(const std::vector<NodeId>& nodes);
  /// Frees what no node behind the one at `position` of the order needs.
  void release(size_t position);

  int64_t batches() const { return static_cast<int64_t>(first_.size()); }
  int64_t first_sample(int64_t batch) const { return first_[static_cast<size_t>(batch)]; }
  int64_t samples(int64_t batch) const { return count_[static_cast<size_t>(batch)]; }
  int threads() const { return settings_.threads; }
  /// True when the value is the same in both graphs.
  bool same(ValueId id) const { return same_[index(id)]; }
  const Tensor& original(ValueId id, int64_t batch) const;
  const Tensor& changed(ValueId id, int64_t batch) const;

  /// Bytes a sample takes at the fullest moment, going by the inferred shapes. A graph beside
  /// itself keeps every value once.
  static int64_t peak_bytes(const Graph& original, const Graph& changed,
                            const std::vector<HeldValue>& held = {});

 private:
  using Stream = std::vector<std::vector<Tensor>>;  ///< By value, by batch.
  using Fetch = const Tensor& (Lockstep::*)(ValueId, int64_t) const;
  void run(const Graph& graph, NodeId id, Fetch fetch, Stream& results);
  bool computes_the_same(NodeId id) const;

  const Graph &original_, &changed_;
  Settings settings_;
  std::vector<int64_t> first_, count_;
  Stream original_values_, changed_values_;
  std::vector<bool> same_;
  std::vector<NodeId> order_;
  std::vector<size_t> last_use_;
};

}  // namespace pare
