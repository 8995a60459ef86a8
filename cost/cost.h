#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "cost/energy_table.h"
#include "ir/graph.h"

namespace pare {

/// Traffic and work of one inference, and the energy they are estimated to take. Additive.
///
/// A MAC is two operations; GOP = 2 macs / 1e9. `other_ops` (adds, pooling, normalisation, bias)
/// are counted apart and are not in the GOP (../docs/cost.md).
struct CostTotals {
  uint64_t macs = 0;
  uint64_t other_ops = 0;
  uint64_t parameters = 0;        ///< Elements of constants that hold weights and biases.
  uint64_t weight_bytes = 0;      ///< At the width each is stored or computed at.
  uint64_t activation_bytes = 0;  ///< Inputs read plus outputs written, summed over nodes.
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

/// The share of one node.
struct LayerCost {
  NodeId node;
  CostTotals cost;
  DType weight_type = DType::kUndefined;      ///< Precision the multiplies are charged at; int8 for
  DType activation_type = DType::kUndefined;  ///< a Conv between DequantizeLinear nodes (QDQ).
};

struct Cost {
  CostTotals totals;
  std::vector<LayerCost> layers;  ///< In execution order.
  std::vector<NodeId> uncosted;   ///< Unknown operators: their work is not in the totals.
};

/// How energy is charged; see ../docs/cost.md and the table's YAML.
struct CostOptions {
  EnergyTable table;  ///< Default: Horowitz 45 nm.
  Convention convention = Convention::kMac;
  /// On-chip buffer: when all weights fit, DRAM is not charged for them each inference; an
  /// activation that does not fit goes to DRAM and back. Bytes.
  uint64_t buffer_bytes = 1 << 20;
  int64_t batch = 1;  ///< Weights read from DRAM are shared by the images of a batch.
};

/// Counts one inference of `graph` at its inferred shapes, per image: a graph bound to batch b
/// should be bound to 1 first.
Cost estimate_cost(const Graph& graph, const CostOptions& options);

}  // namespace pare
