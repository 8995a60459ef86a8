#include "passes/prune_channels.h"

#include <algorithm>
#include <numeric>

#include "passes/prune_channels_proof.h"
#include "passes/prune_channels_refine.h"
#include "passes/prune_channels_search.h"
#include "passes/remove_slots.h"

namespace pare {
namespace {

constexpr int64_t kProofSamples = 4;

class PruneChannels final : public Pass {
 public:
  explicit PruneChannels(const PruneChannelsOptions& options) : options_(options) {}

  std::string_view name() const override { return "prune-channels"; }
  Effect effect() const override { return Effect::kLossy; }
  bool needs_data() const override { return options_.max_drop.has_value(); }
  PassStats run(Graph& graph, PassContext& context) override;

 private:
  PrunedNetwork prune(const Graph& graph, PrunePlanner& planner, const Budget& budget,
                      const PassContext& context) const;
  PassStats prune_by_drop(Graph& graph, PassContext& context);
  double prove(const Graph& graph, const Graph& pruned, const ChannelSlots& slots,
               const PrunePlan& plan, const PassContext& context) const;
  ReconstructResult refit(const Graph& graph, Graph& pruned, const ChannelSlots& slots,
                          const PrunePlan& plan, const PassContext& context) const;

  PruneChannelsOptions options_;
};

double PruneChannels::prove(const Graph& graph, const Graph& pruned, const ChannelSlots& slots,
                            const PrunePlan& plan, const PassContext& context) const {
  std::vector<Tensor> inputs;
  if (context.data) {
    const int64_t most = Dataset::max_batch(graph);
    inputs = context.data->batch(graph, 0, std::min({most, kProofSamples, context.data->size()}));
  } else {
    inputs = synthetic_inputs(graph);
  }
  return prove_removal(
      graph, pruned, slots, [&](uint32_t group) { return plan.doomed[group]; }, inputs);
}

ReconstructResult PruneChannels::refit(const Graph& graph, Graph& pruned, const ChannelSlots& slots,
                                       const PrunePlan& plan, const PassContext& context) const {
  const auto surviving = [&](Dim dim) {
    return slots.surviving(dim, [&](uint32_t group) { return plan.doomed[group]; });
  };
  return reconstruct(graph, pruned, surviving, options_.reconstruct, context);
}

void describe_fit(const ReconstructResult& result, const PassContext& context, PassStats& stats) {
  stats["samples"] = result.samples;
  stats["layers fitted"] = result.fitted;
  stats["producers bettered"] = result.producers;
  if (result.skipped > 0) {
    stats["layers not fitted"] = result.skipped;
    context.warning(std::to_string(result.skipped) +
                    " layers behind removed channels keep their weights, because least squares "
                    "does not handle them");
  }
}

/// What was measured of a family; null where nothing was.
const ErrorCurve* curve_of(const MeasuredFamilies* measured, const Family& family, size_t& place) {
  for (place = 0; measured && place < measured->curves.size(); ++place) {
    if (measured->curves[place].family == &family) return &measured->curves[place];
  }
  return nullptr;
}

/// The row of one family. `doomed` are its own groups that go, `cut` what the families save in sum.
std::vector<StatTable::Cell> describe_family(const PrunePlanner& planner, const Graph& graph,
                                             const Family& family, const std::vector<bool>& doomed,
                                             double saved, double cut) {
  const auto left = static_cast<int64_t>(
      planner.slots()
          .surviving(family.widest, [&](uint32_t group) { return doomed[group]; })
          .size());
  std::vector<StatTable::Cell> row = {name_of(graph, family), planner.slots().extent(family.widest),
                                      left, saved, cut > 0 ? 100 * saved / cut : 0};
  size_t place = 0;
  const ErrorCurve* curve = curve_of(planner.measured(), family, place);
  if (!curve) return row;
  const auto kept = static_cast<int64_t>(family.groups.size()) -
                    std::ranges::count_if(family.groups, [&](uint32_t g) { return doomed[g]; });
  const std::vector<double>& losses = planner.measured()->losses[place];
  row.emplace_back(predicted_loss(*curve, losses, kept));
  row.emplace_back(curve->seconds);
  row.emplace_back(std::vector<double>(curve->kept.begin(), curve->kept.end()));
  row.emplace_back(losses);
  row.emplace_back(curve->error);
  return row;
}

void describe_families(const Graph& graph, const PrunePlanner& planner, const PrunePlan& plan,
                       PassStats& stats) {
  StatTable table{.columns = {"set", "channels", "kept", "saves", "% of the cut", "loss", "seconds",
                              "groups measured", "sensitivity", "error"}};
  std::vector<std::vector<bool>> doomed;
  std::vector<double> saved;
  for (const Family& family : planner.families()) {
    std::vector<bool>& own = doomed.emplace_back(planner.slots().size());
    for (uint32_t group : family.groups) own[group] = plan.doomed[group];
    saved.push_back(planner.before() - planner.model().without(own));
  }
  const double cut = std::accumulate(saved.begin(), saved.end(), 0.0);
  int64_t removed = 0;
  for (size_t f = 0; f < doomed.size(); ++f) {
    const Family& family = planner.families()[f];
    table.rows.push_back(describe_family(planner, graph, family, doomed[f], saved[f], cut));
    removed += std::ranges::count_if(family.groups, [&](uint32_t g) { return doomed[f][g]; }) *
               family.width;
  }
  stats["channels removed"] = removed;
  stats["sets"] = std::move(table);
}

PrunedNetwork PruneChannels::prune(const Graph& graph, PrunePlanner& planner, const Budget& budget,
                                   const PassContext& context) const {
  PrunePlan plan = planner.plan(budget);
  PrunedNetwork result{.graph = graph};
  const std::string unit = budget.measure == Measure::kMacs ? "MACs" : "parameters";
  result.stats[unit + " before"] = planner.before();
  result.stats[unit + " after"] = plan.after;
  if (plan.empty()) return result;

  std::optional<FittedPruning> fitted;
  if (planner.measured()) {
    fitted.emplace(fit_and_refine(graph, planner, budget, plan, planner.fitting(), context));
    plan = fitted->plan;
    result.stats[unit + " after"] = plan.after;
    result.stats["candidates compared"] = fitted->tried;
  }
  Graph& pruned = result.graph;
  remove_slots(pruned, planner.slots(), [&](uint32_t group) { return plan.doomed[group]; });
  describe_families(graph, planner, plan, result.stats);
  if (!executable(graph)) {
    context.warning(
        "channels were removed by the size of their weights only, which costs most of the "
        "accuracy, "
        "because the network has operators that cannot be run here");
  } else {
    result.stats["difference to masked original"] =
        prove(graph, pruned, planner.slots(), plan, context);
    if (fitted) {
      pruned = std::move(fitted->pruned);
      describe_fit(fitted->fit, context, result.stats);
    } else if (context.data && options_.refit) {
      describe_fit(refit(graph, pruned, planner.slots(), plan, context), context, result.stats);
    } else if (options_.refit) {
      context.warning(
          "channels were removed by the size of their weights and nothing was fitted to data, "
          "which "
          "costs most of the accuracy: ResNet-56 on CIFAR-10 (92.6 %) keeps 62 % at -30 % MACs and "
          "13 % at -50 %, with 512 images 92.6 % and 92.2 %; give calibration data to keep it");
    }
  }
  return result;
}

PassStats PruneChannels::prune_by_drop(Graph& graph, PassContext& context) {
  if (!executable(graph))
    throw Error(ErrorKind::kUnsupported,
                "max-drop compares outputs, but the network has operators that cannot be run here");
  // A quarter of the samples is held out where they are few.
  int64_t& samples = options_.reconstruct.samples;
  samples = std::max<int64_t>(1, std::min(samples, context.data->size() * 3 / 4));
  PrunePlanner planner(graph, options_, context);
  const double before = planner.before();
  const DropSearch search{.max_drop = *options_.max_drop,
                          .farthest = 1 - options_.budget.target(before) / before,
                          .fitted = samples};
  std::optional<PrunedNetwork> best;
  if (search.farthest > 0)
    best = search_largest_cut(graph, search, context, [&](double share, const PassContext& quiet) {
      const Budget budget{.measure = options_.budget.measure, .amount = share};
      return prune(graph, planner, budget, quiet);
    });
  if (!best) {
    context.warning("nothing was pruned, for even a cut of one per cent loses more than max-drop");
    return {};
  }
  for (const std::string& warning : best->warnings) context.warning(warning);
  graph = std::move(best->graph);
  return best->stats;
}

PassStats PruneChannels::run(Graph& graph, PassContext& context) {
  if (options_.max_drop) return prune_by_drop(graph, context);
  PrunePlanner planner(graph, options_, context);
  PrunedNetwork result = prune(graph, planner, options_.budget, context);
  graph = std::move(result.graph);
  return result.stats;
}

}  // namespace

std::unique_ptr<Pass> make_prune_channels(const PruneChannelsOptions& options) {
  return std::make_unique<PruneChannels>(options);
}

}  // namespace pare
