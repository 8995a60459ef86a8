#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "calib/dataset.h"
#include "ir/graph.h"
#include "tensor/stored_tensor.h"

namespace pare {

/// A value that is still wanted when `node` runs, though no node in between reads it.
struct HeldValue {
  ValueId value;
  NodeId node;
};

/// Runs a graph and a changed copy of it node by node on the same samples, all samples at a time,
/// and keeps every value for as long as some later node needs it. Where nothing else wants what a
/// node reads, it goes batch by batch as the node's results come.
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
    bool packed = false;  ///< Values are kept in half their bytes (tensor/stored_tensor.h).
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
  /// now, batch by batch, and keeps what none of them reads and what is held. Their inputs must be
  /// held.
  void run_changed_again(const std::vector<NodeId>& nodes);
  /// Frees what no node behind the one at `position` of the order needs.
  void release(size_t position);

  int64_t batches() const { return static_cast<int64_t>(first_.size()); }
  int64_t first_sample(int64_t batch) const { return first_[static_cast<size_t>(batch)]; }
  int64_t samples(int64_t batch) const { return count_[static_cast<size_t>(batch)]; }
  int threads() const { return settings_.threads; }
  /// True when the value is the same in both graphs.
  bool same(ValueId id) const { return same_[index(id)]; }
  Tensor original(ValueId id, int64_t batch) const;
  Tensor changed(ValueId id, int64_t batch) const;
  /// Of original().
  const Shape& original_shape(ValueId id, int64_t batch) const;

 private:
  using Stream = std::vector<std::vector<StoredTensor>>;  ///< By value, by batch.
  using Fetch = Tensor (Lockstep::*)(ValueId, int64_t) const;
  /// Where the batches of values are that go as soon as a node has read them.
  using Dying = std::vector<std::vector<StoredTensor>*>;
  void run(const Graph& graph, NodeId id, Fetch fetch, Stream& results, const Dying& dying);
  bool computes_the_same(NodeId id) const;
  /// What the node in `graph` is the last to read; `kept_at` finds a value's batches, or null where
  /// they stay.
  Dying dying(const Graph& graph, NodeId id,
              const std::function<std::vector<StoredTensor>*(ValueId)>& kept_at) const;
  Dying dying_in_original(NodeId id);
  Dying dying_in_changed(NodeId id);

  const Graph &original_, &changed_;
  Settings settings_;
  std::vector<int64_t> first_, count_;
  Stream original_values_, changed_values_;
  std::vector<bool> same_;
  std::vector<NodeId> order_;
  std::vector<size_t> position_;  ///< By node: its place in order_.
  std::vector<size_t> last_use_;  ///< By value: the position of what needs it last.
  int64_t freed_ = 0;  ///< Since memory was given back, going by inferred shapes [bytes].
};

/// Position behind the last weighted node: the rest (an upsampling, a choice of the best class) is
/// of no interest to fits, and need not be run.
size_t end_of_fits(const Graph& changed);

/// What a sample of a value takes, going by its inferred shape [bytes].
int64_t bytes_per_sample(const Graph& graph, ValueId id);

/// What one sample takes while the node at a position of the order runs, going by the inferred
/// shapes [bytes].
struct LockstepBytes {
  int64_t kept = 0;     ///< Values that are kept.
  int64_t in_work = 0;  ///< What the node reads and makes.
};

/// By position in the changed graph's order, up to its end_of_fits(). A graph beside itself keeps
/// every value once.
std::vector<LockstepBytes> lockstep_bytes(const Graph& original, const Graph& changed,
                                          const std::vector<HeldValue>& held);

}  // namespace pare
