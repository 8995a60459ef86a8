#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cost/energy_table.h"
#include "ir/graph.h"

namespace pare {

/// Traffic and work of one inference, and the energy they are estimated to take. Additive.
///
/// A MAC is two operations; GOP = 2 macs / 1e9. `other_ops` (adds, pooling, normalisation, bias)
/// are counted apart and are not in the GOP (docs/cost.md).
struct CostTotals {
  uint64_t macs = 0;
  uint64_t other_ops = 0;
  uint64_t parameters = 0;        ///< Elements of constants that hold weights and biases.
  uint64_t weight_bytes = 0;      ///< Of those, at the width each needs (docs/cost.md).
  uint64_t activation_bytes = 0;  ///< Inputs read plus outputs written, summed over nodes.
  uint64_t dram_bytes = 0;        ///< Weights (shared by a batch) and activations moved off chip.
  double mac_joules = 0;
  double other_joules = 0;
  double on_chip_joules = 0;
  double dram_joules = 0;

  double gop() const { return 2e-9 * static_cast<double>(macs); }
  double joules() const { return mac_joules + other_joules + on_chip_joules + dram_joules; }
  /// Power [W] at `rate` inferences per second.
  double watts(double rate) const { return joules() * rate; }
  CostTotals& operator+=(const CostTotals& other);
};

/// The share of one node. A constant used by several nodes is in the share of the first.
struct LayerCost {
  NodeId node;
  CostTotals cost;
  DType weight_type = DType::kUndefined;      ///< Precision the multiplies are charged at; int8 for
  DType activation_type = DType::kUndefined;  ///< a Conv between DequantizeLinear nodes (QDQ).
  /// Of the weights' integers: fewer than weight_type has where all of them would fit in four or
  /// three bits (weights of few bits in int8 tensors). 0 for other weights.
  int weight_bits = 0;
  /// No work of its own: computed once before any inference, a view of its input, or a
  /// QuantizeLinear or DequantizeLinear that is part of the integer op beside it.
  bool free = false;
};

/// "i8", "f32"; "i4" and "i3" where so few bits are needed.
std::string weight_precision(const LayerCost& layer);

struct Cost {
  CostTotals totals;
  std::vector<LayerCost> layers;  ///< In execution order.
  /// Unknown operators, and known ones whose shapes are not: their work is not in the totals.
  std::vector<NodeId> uncosted;
  uint64_t peak_activation_bytes = 0;  ///< Largest sum of activations alive at once.
};

/// How energy is charged; see docs/cost.md and the table's YAML.
struct CostOptions {
  EnergyTable table;  ///< Default: Horowitz 45 nm.
  Convention convention = Convention::kMac;
  /// On-chip buffer: when all weights fit, DRAM is not charged for them each inference; an
  /// activation that does not fit goes to DRAM and back. Bytes.
  uint64_t buffer_bytes = 1 << 20;
  int64_t batch = 1;  ///< Weights read from DRAM are shared by the images of a batch.
  /// What if every floating-point number of the network, inputs and outputs too, had this
  /// precision? Empty: charge what the model holds.
  std::optional<Precision> precision;
};

/// Outputs of a tile of the assumed output-stationary array along each of its two sides: one
/// operand fetched from the tile's memory serves at most so many MACs.
inline constexpr uint64_t kTileSide = 16;
/// Capacity of the tile's own memory, taken from the on-chip buffer. Bytes.
inline constexpr uint64_t kTileBytes = 8 << 10;

/// Counts one inference of `graph` at its inferred shapes, per image: a graph bound to batch b
/// should be bound to 1 first.
Cost estimate_cost(const Graph& graph, const CostOptions& options);

/// One line that says what an estimate assumes: table, convention, buffer, tile, what-if precision.
std::string describe(const CostOptions& options);

/// Energy [J] of `macs` multiply-accumulates alone.
double mac_joules(const EnergyTable& table, uint64_t macs, Precision a, Precision b,
                  Convention convention);
/// Energy [J] of moving `bytes` to or from DRAM.
double dram_joules(const EnergyTable& table, uint64_t bytes);

}  // namespace pare
