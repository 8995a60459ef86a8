#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "ir/graph.h"
#include "support/disjoint_sets.h"

namespace pare {

/// How the values of a graph are held when it runs: which nodes are no work of their own, which
/// values share one buffer, and at which element type (docs/cost.md, "What counts as a layer").
///
/// - A node computed from constants alone runs once, before any inference.
/// - Reshape, Flatten, Squeeze, Unsqueeze, Identity and Dropout are views.
/// - Relu or Clip behind a weighted op or an Add works on its accumulators.
/// - A node between DequantizeLinear and QuantizeLinear works on the integers, and the Q and DQ are
///   part of it. A weighted op is one as soon as both its operands are dequantized.
class Storage {
 public:
  explicit Storage(const Graph& graph);

  /// Known before any inference: a weight, shape arithmetic, or computed from such.
  bool constant(ValueId id) const { return constant_[index(id)]; }
  /// Not run, or nothing to do when run.
  bool free(NodeId id) const { return free_[index(id)]; }
  /// Arithmetic only: its operand and result never leave the op before it.
  bool fused(NodeId id) const { return fused_[index(id)]; }
  /// Works on integers behind DequantizeLinear.
  bool integer(NodeId id) const { return integer_[index(id)]; }
  /// What `node` really reads for operand `id`: the integers where it works on them.
  ValueId source(NodeId node, ValueId id) const;
  /// Equal for values that share a buffer.
  uint32_t buffer(ValueId id) const { return roots_[index(id)]; }
  /// Element type a buffer is held at.
  DType dtype(ValueId id) const { return dtypes_[buffer(id)]; }

 private:
  void find_constants();
  void find_integer_nodes();
  void find_free_nodes();
  void share_buffers();
  /// The output of the DequantizeLinear that `id` comes from unchanged.
  std::optional<NodeId> dequantizer(ValueId id) const;
  bool reads_integers(const Node& node) const;
  bool writes_integers(const Node& node) const;
  /// The Relu or Clip that works on the sums of `node`, a weighted op or an Add.
  std::optional<NodeId> fused_activation(const Node& node) const;
  bool is_view(const Node& node) const;

  const Graph& graph_;
  std::vector<bool> constant_, free_, fused_, integer_;
  DisjointSets sets_;
  std::vector<uint32_t> roots_;
  std::vector<DType> dtypes_;  ///< By root.
};

/// Multiplies weights with activations: it has MACs or quantizes as such an op.
bool is_weighted(const Node& node);
/// Slot of the second operand of a weighted op: 3 for QLinearConv, QLinearMatMul and QGemm, else 1.
size_t weight_slot(const Node& node);
/// Bits the numbers of a constant of an 8-bit type need: 4 or 3 where all of them fit, else what
/// the type has.
int needed_bits(const Tensor& constant);
/// Whether operand `slot` can hold weights; false for scales, zero points, and settings such as the
/// scales of Resize.
bool holds_weights(const Node& node, size_t slot);

}  // namespace pare
