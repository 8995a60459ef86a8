#pragma once

#include <optional>
#include <vector>

#include "passes/measurement_store.h"
#include "passes/prune_channels_budget.h"
#include "passes/prune_channels_curves.h"

namespace pare {

/// The problem choose_by_loss() solves.
struct LossBudget {
  const ChannelSlots* slots = nullptr;
  const AxisMap* axes = nullptr;
  const SizeModel* model = nullptr;
  AllocationLimits limits;
  std::vector<bool> doomed;  ///< Groups that go in any case, of families without a curve.
  double target = 0;         ///< Largest size, as the model counts.
};

/// Families whose curves and losses are known, ready for any budget.
struct MeasuredFamilies {
  std::vector<ErrorCurve> curves;
  std::vector<std::vector<double>> losses;  ///< By curve, by ErrorCurve::kept.
};

/// What the outputs are predicted to lose when a curve's family keeps so many groups: the measured
/// losses, and between them along the error curve.
double predicted_loss(const ErrorCurve& curve, const std::vector<double>& losses, int64_t kept);

/// Which families are measured here, and where measurements are kept.
struct MeasureSharing {
  MeasurementStore* store = nullptr;  ///< Null: nothing is kept or known.
  int64_t shard = 0, shards = 1;      ///< Families whose index modulo `shards` is `shard` are.
  bool coupled = false;               ///< Residual streams are measured too.
};

/// Runs the network for the curves and the sensitivities of all families that can be measured and
/// are not known yet. Results are the same however the work is shared.
MeasuredFamilies measure_families(const Graph& graph, const ChannelSlots& slots,
                                  const std::vector<Family>& families,
                                  const AllocationLimits& limits, const ReconstructOptions& options,
                                  const PassContext& context, const MeasureSharing& sharing = {});

/// The same families with losses measured twice, around two networks: those of `first`, averaged
/// with those of `second` where that has the family, for every number of groups.
MeasuredFamilies averaged(const MeasuredFamilies& first, const MeasuredFamilies& second);

/// The groups to remove for the smallest sum of measured losses within the budget. The cost of a
/// layer depends on what its neighbours keep, so the knapsack is solved on the linearised cost and
/// again around its solution. Nothing when the families cannot get there.
std::optional<std::vector<bool>> choose_by_loss(const MeasuredFamilies& measured,
                                                const LossBudget& budget);

}  // namespace pare
