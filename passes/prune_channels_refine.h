#pragma once

#include <vector>

#include "passes/prune_channels_plan.h"

namespace pare {

/// A pruned network whose weights are fitted.
struct FittedPruning {
  PrunePlan plan;  ///< What went in the end.
  Graph pruned;
  ReconstructResult fit;
  double loss = 0;    ///< Of the outputs on samples that nothing was fitted to.
  int64_t tried = 1;  ///< Networks that were made; the one with the smallest loss is here.
};

/// Prunes and fits by a plan made of measured losses, and tries to better the plan.
///
/// Weights are fitted in one sweep (reconstruct.h) in which consumers ignore the channels that go,
/// while all are still computed. That lets the sweep choose anew which channels go, by backward
/// elimination on what the pruned network feeds each consumer; how many stays as planned. Then the
/// losses of the families are measured around the pruned network, averaged with those the plan was
/// made of, and the knapsack and the sweep are done again; of the networks that come out the one
/// with the smallest loss on held-out samples stays. A last sweep over it betters producers too
/// (ReconstructOptions::producer_steps), and stays where it makes that loss smaller.
FittedPruning fit_and_refine(const Graph& graph, const PrunePlanner& planner, const Budget& budget,
                             const PrunePlan& plan, const ReconstructOptions& options,
                             const PassContext& context);

}  // namespace pare
