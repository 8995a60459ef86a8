#pragma once

#include <optional>
#include <string>
#include <vector>

#include "passes/prune_channels_obs.h"
#include "passes/prune_channels_options.h"

namespace pare {

/// What a budget asks for: which groups go.
struct PrunePlan {
  std::vector<bool> doomed;  ///< By group.
  double target = 0;         ///< What the budget lets remain, as it counts.
  double after = 0;          ///< What remains, as the size model predicts.
  bool empty() const;
};

/// Decides which channels go. Measures the network once, on the first plan that needs it, and
/// answers for any budget from then on.
class PrunePlanner {
 public:
  /// All three must outlive this; `graph` must stay as it is.
  PrunePlanner(const Graph& graph, const PruneChannelsOptions& options, const PassContext& context);

  const ChannelSlots& slots() const { return slots_; }
  /// Those the options let prune.
  const std::vector<Family>& families() const { return families_; }
  /// Size of the unpruned network, as the budget counts.
  double before() const { return before_; }
  /// Null until something was measured.
  const MeasuredFamilies* measured() const { return measured_ ? &*measured_ : nullptr; }
  const SizeModel& model() const { return model_; }
  const AxisMap& axes() const { return axes_; }
  /// How to fit what is left: the options, and how errors count where that was measured.
  const ReconstructOptions& fitting() const { return fitting_; }

  /// Measures, in part where the work is shared; plan() does it by itself. Keeps measurements in
  /// PruneChannelsOptions::sensitivity. Needs samples and a network that can be run.
  void measure(MeasureSharing sharing);
  /// Throws Error(kUnsupported) where the network cannot be pruned that far.
  PrunePlan plan(const Budget& budget);
  /// The same from losses measured elsewhere; nothing where it cannot be pruned that far.
  std::optional<PrunePlan> plan(const Budget& budget, const MeasuredFamilies& measured) const;

 private:
  AllocationLimits limits(double share) const;
  bool measures() const;
  /// Residual streams are pruned by measured loss too, beside inner channels.
  bool needs_coupled(double target) const;
  std::optional<std::vector<bool>> choose_by_size(double target) const;
  std::optional<std::vector<bool>> choose_by_measurement(const MeasuredFamilies& measured,
                                                         double target) const;
  std::optional<std::vector<bool>> allocate(bool coupled, double share, double target) const;
  [[noreturn]] void refuse(double target) const;

  const Graph& graph_;
  const PruneChannelsOptions& options_;
  const PassContext& context_;
  ChannelSlots slots_;
  std::vector<Family> families_;
  AxisMap axes_;
  SizeModel model_;
  double before_;
  ReconstructOptions fitting_;
  std::optional<MeasuredFamilies> measured_;
  bool measured_coupled_ = false;
};

}  // namespace pare
