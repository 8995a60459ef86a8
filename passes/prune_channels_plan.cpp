#include "passes/prune_channels_plan.h"

#include <algorithm>
#include <cmath>

#include "config/glob.h"
#include "passes/prune_channels_proof.h"
#include "passes/prune_channels_score.h"

namespace pare {
namespace {

/// Inner channels are thinned down to this share before residual streams are touched.
constexpr double kInnerShare = 0.25;
/// The same where what goes is decided by measured loss.
constexpr double kMeasuredShare = 0.1;
/// Share of what inner channels could give at most; a budget that asks for more of it is spent on
/// residual streams too.
constexpr double kInnerReach = 0.75;
/// How errors count is measured on these at the most.
constexpr int64_t kMetricSamples = 256;

bool matches(const Node& node, const std::string& pattern) {
  return matches_glob(pattern, node.name) || matches_glob(pattern, node.op);
}

bool matches(const Graph& graph, const Family& family, const std::string& pattern) {
  return std::ranges::any_of(family.producers, [&](const WeightedNode& producer) {
    return matches(graph.node(producer.node), pattern);
  });
}

bool matches(const Graph& graph, const Family& family, const std::vector<std::string>& patterns) {
  return std::ranges::any_of(
      patterns, [&](const std::string& pattern) { return matches(graph, family, pattern); });
}

/// A pattern that names no layer is a slip of the pen.
void check_pattern(const Graph& graph, const char* option, const std::string& pattern) {
  const bool known = std::ranges::any_of(graph.order(), [&](NodeId id) {
    return matches(graph.node(id), pattern) && weighted_node(graph, id);
  });
  if (!known)
    throw Error(ErrorKind::kUsage,
                std::string(option) + ": no layer's name or operator matches '" + pattern + "'");
}

void check_patterns(const Graph& graph, const PruneChannelsOptions& options) {
  for (const std::string& pattern : options.include) check_pattern(graph, "include", pattern);
  for (const std::string& pattern : options.exclude) check_pattern(graph, "exclude", pattern);
  for (const LayerLimit& limit : options.limits) check_pattern(graph, "limits", limit.pattern);
}

/// Groups that a limit makes a family keep.
int64_t groups_kept(const Family& family, const LayerLimit& limit) {
  const auto count = static_cast<double>(family.groups.size());
  const double share =
      limit.relative ? limit.amount * count : limit.amount / static_cast<double>(family.width);
  return static_cast<int64_t>(std::ceil(std::min(count, share) - 1e-9));
}

std::vector<Family> wanted_families(const Graph& graph, const ChannelSlots& slots,
                                    const PruneChannelsOptions& options) {
  check_patterns(graph, options);
  std::vector<Family> families = find_families(graph, slots);
  for (Family& family : families) {
    for (const LayerLimit& limit : options.limits) {
      if (matches(graph, family, limit.pattern))
        family.least = std::max(family.least, groups_kept(family, limit));
    }
  }
  std::erase_if(families, [&](const Family& family) {
    return (!options.include.empty() && !matches(graph, family, options.include)) ||
           matches(graph, family, options.exclude) ||
           (family.coupled && options.coupled == PruneCoupled::kNo);
  });
  return families;
}

/// What stands in for a method where no data is measured.
WeightScore weight_score(PruneMethod method) {
  switch (method) {
    case PruneMethod::kL1:
      return WeightScore::kL1;
    case PruneMethod::kGeometricMedian:
      return WeightScore::kGeometricMedian;
    case PruneMethod::kRandom:
      return WeightScore::kRandom;
    default:
      return WeightScore::kL2;
  }
}

}  // namespace

bool PrunePlan::empty() const {
  return std::ranges::none_of(doomed, [](bool gone) { return gone; });
}

PrunePlanner::PrunePlanner(const Graph& graph, const PruneChannelsOptions& options,
                           const PassContext& context)
    : graph_(graph),
      options_(options),
      context_(context),
      slots_(ChannelSlots::analyze(graph)),
      families_(wanted_families(graph, slots_, options)),
      axes_(slots_, families_),
      model_(graph, axes_, options.budget.measure),
      before_(model_.without(std::vector<bool>(slots_.size()))),
      fitting_(options.reconstruct) {}

AllocationLimits PrunePlanner::limits(double share) const {
  return {.min_channels = options_.min_channels,
          .multiple = options_.multiple,
          .smallest_share = share};
}

bool PrunePlanner::measures() const {
  return options_.method == PruneMethod::kObs && context_.data && executable(graph_) &&
         options_.refit;
}

bool PrunePlanner::needs_coupled(double target) const {
  if (options_.coupled != PruneCoupled::kWhenNeeded) return options_.coupled == PruneCoupled::kYes;
  std::vector<bool> doomed(slots_.size());
  const SharedAxes shared(axes_, slots_.size());
  AxisGuard guard(shared);
  for (const Family& family : families_) {
    if (family.coupled) continue;
    const int64_t least = legal_counts(family, limits(kMeasuredShare)).back();
    for (size_t i = static_cast<size_t>(least); i < family.groups.size(); ++i)
      doomed[family.groups[i]] = guard.take(family.groups[i]);
  }
  return before_ - target > kInnerReach * (before_ - model_.without(doomed));
}

std::optional<std::vector<bool>> PrunePlanner::allocate(bool coupled, double share,
                                                        double target) const {
  std::vector<Family> used;
  std::ranges::copy_if(families_, std::back_inserter(used),
                       [&](const Family& family) { return coupled || !family.coupled; });
  const AxisMap axes(slots_, used);
  const SizeModel model(graph_, axes, options_.budget.measure);
  std::vector<RankedFamily> ranked;
  for (const Family& family : used)
    ranked.push_back(
        rank_by_weights(graph_, slots_, family, weight_score(options_.method), context_.seed));
  return allocate_uniform(ranked, axes, model, limits(share), slots_.size(), target);
}

std::optional<std::vector<bool>> PrunePlanner::choose_by_size(double target) const {
  std::optional<std::vector<bool>> doomed;
  if (options_.coupled == PruneCoupled::kWhenNeeded) doomed = allocate(false, kInnerShare, target);
  return doomed ? doomed : allocate(true, 0, target);
}

std::optional<std::vector<bool>> PrunePlanner::choose_by_measurement(
    const MeasuredFamilies& measured, double target) const {
  LossBudget budget{.slots = &slots_,
                    .axes = &axes_,
                    .model = &model_,
                    .limits = limits(kMeasuredShare),
                    .doomed = std::vector<bool>(slots_.size()),
                    .target = target};
  if (std::optional<std::vector<bool>> doomed = choose_by_loss(measured, budget)) return doomed;
  // What could not be measured gives its even share by the size of weights.
  const std::optional<std::vector<bool>> even = allocate(true, 0, target);
  if (!even) return {};
  budget.doomed = *even;
  for (const ErrorCurve& curve : measured.curves) {
    for (uint32_t group : curve.family->groups) budget.doomed[group] = false;
  }
  std::optional<std::vector<bool>> doomed = choose_by_loss(measured, budget);
  return doomed ? doomed : even;
}

void PrunePlanner::measure(MeasureSharing sharing) {
  std::optional<MeasurementStore> store;
  if (!sharing.store && !options_.sensitivity.empty())
    sharing.store = &store.emplace(options_.sensitivity, graph_, options_.reconstruct, context_);
  sharing.coupled |= options_.coupled == PruneCoupled::kYes;
  measured_coupled_ = sharing.coupled;
  if (!fitting_.metrics)
    fitting_.metrics = std::make_shared<const ErrorMetrics>(measure_error_metrics(
        graph_, context_.data->spread(kMetricSamples), fitting_.max_memory, context_));
  measured_ = measure_families(graph_, slots_, families_, limits(kMeasuredShare), fitting_,
                               context_, sharing);
}

PrunePlan PrunePlanner::plan(const Budget& budget) {
  PrunePlan plan{.doomed = std::vector<bool>(slots_.size()),
                 .target = budget.target(before_),
                 .after = before_};
  if (before_ <= 0) refuse(plan.target);
  if (before_ <= plan.target) return plan;
  const bool coupled = measures() && needs_coupled(plan.target);
  if (measures() && (!measured_ || (coupled && !measured_coupled_))) measure({.coupled = coupled});
  std::optional<std::vector<bool>> doomed =
      measured_ ? choose_by_measurement(*measured_, plan.target) : choose_by_size(plan.target);
  if (!doomed) refuse(plan.target);
  plan.doomed = std::move(*doomed);
  plan.after = model_.without(plan.doomed);
  return plan;
}

std::optional<PrunePlan> PrunePlanner::plan(const Budget& budget,
                                            const MeasuredFamilies& measured) const {
  PrunePlan plan{.target = budget.target(before_)};
  std::optional<std::vector<bool>> doomed = choose_by_measurement(measured, plan.target);
  if (!doomed) return {};
  plan.doomed = std::move(*doomed);
  plan.after = model_.without(plan.doomed);
  return plan;
}

void PrunePlanner::refuse(double target) const {
  const std::string unit = options_.budget.measure == Measure::kMacs ? " MACs" : " parameters";
  std::string reason;
  if (families_.empty()) {
    reason = "no channels of it can be removed";
    for (NodeId id : graph_.order()) {
      const std::optional<WeightedNode> weighted = weighted_node(graph_, id);
      if (!weighted || slots_.extent(weighted->output) == 0) continue;
      const std::string pin = slots_.pin(slots_.group_of(weighted->output, 0));
      if (!pin.empty()) reason += ": " + pin;
      if (!pin.empty()) break;
    }
  } else {
    const double least = model_.without(allocate_least(families_, axes_, limits(0), slots_.size()));
    reason = "limits and pins leave it " + std::to_string(std::llround(least)) + " at the least";
  }
  throw Error(ErrorKind::kUnsupported, "the network has " + std::to_string(std::llround(before_)) +
                                           unit + " and cannot be pruned to " +
                                           std::to_string(std::llround(target)) + ", for " +
                                           reason);
}

}  // namespace pare
