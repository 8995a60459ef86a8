#include "passes/prune_channels.h"

#include <algorithm>
#include <cstdio>

#include "passes/prune_channels_plan.h"
#include "passes/prune_channels_proof.h"
#include "passes/prune_channels_search.h"
#include "passes/remove_slots.h"

namespace pare {
namespace {

constexpr int64_t kProofSamples = 4;

std::string percent(double share) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f %%", 100 * share);
  return text;
}

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
  void prove(const Graph& graph, const Graph& pruned, const ChannelSlots& slots,
             const PrunePlan& plan, const PassContext& context) const;
  void refit(const Graph& graph, Graph& pruned, const ChannelSlots& slots, const PrunePlan& plan,
             const PassContext& context, PassStats& stats) const;

  PruneChannelsOptions options_;
};

void PruneChannels::prove(const Graph& graph, const Graph& pruned, const ChannelSlots& slots,
                          const PrunePlan& plan, const PassContext& context) const {
  std::vector<Tensor> inputs;
  if (context.data) {
    const int64_t most = Dataset::max_batch(graph);
    inputs = context.data->batch(graph, 0, std::min({most, kProofSamples, context.data->size()}));
  } else {
    inputs = synthetic_inputs(graph);
  }
  prove_removal(
      graph, pruned, slots, [&](uint32_t group) { return plan.doomed[group]; }, inputs);
}

void PruneChannels::refit(const Graph& graph, Graph& pruned, const ChannelSlots& slots,
                          const PrunePlan& plan, const PassContext& context,
                          PassStats& stats) const {
  const auto surviving = [&](Dim dim) {
    return slots.surviving(dim, [&](uint32_t group) { return plan.doomed[group]; });
  };
  const ReconstructResult result =
      reconstruct(graph, pruned, surviving, options_.reconstruct, context);
  stats["samples"] = result.samples;
  stats["layers fitted"] = result.fitted;
  if (result.skipped > 0) {
    stats["layers not fitted"] = result.skipped;
    context.warning(std::to_string(result.skipped) +
                    " layers behind removed channels keep their weights, because least squares "
                    "does not handle them");
  }
}

void describe_families(const Graph& graph, const PrunePlanner& planner, const Graph& pruned,
                       const PrunePlan& plan, PassStats& stats) {
  const AxisMap none(planner.slots(), {});
  const double total = SizeModel(pruned, none, Measure::kMacs).without({});
  int64_t removed = 0;
  for (const Family& family : planner.families()) {
    const auto gone = static_cast<int64_t>(
        std::ranges::count_if(family.groups, [&](uint32_t group) { return plan.doomed[group]; }));
    const WeightedNode& first = family.producers[0];
    const auto channels = [&](const Graph& g) {
      return g.type(first.output.value).shape[static_cast<size_t>(first.output.axis)];
    };
    removed += gone * family.width;
    double macs = 0;
    for (const WeightedNode& producer : family.producers) {
      const Node& node = pruned.node(producer.node);
      if (node.def->macs)
        macs += static_cast<double>(
            node.def->macs(node, pruned.operands(node), pruned.output_types(node)));
    }
    stats["channels of " + graph.node(first.node).name] =
        std::to_string(channels(graph)) + " -> " + std::to_string(channels(pruned)) + ", " +
        percent(total > 0 ? macs / total : 0) + " of the MACs left";
  }
  stats["channels removed"] = removed;
  stats["families"] = static_cast<int64_t>(planner.families().size());
}

PrunedNetwork PruneChannels::prune(const Graph& graph, PrunePlanner& planner, const Budget& budget,
                                   const PassContext& context) const {
  const PrunePlan plan = planner.plan(budget);
  PrunedNetwork result{.graph = graph};
  const std::string unit = budget.measure == Measure::kMacs ? "MACs" : "parameters";
  result.stats[unit + " before"] = planner.before();
  result.stats[unit + " after"] = plan.after;
  if (plan.empty()) return result;

  Graph& pruned = result.graph;
  remove_slots(pruned, planner.slots(), [&](uint32_t group) { return plan.doomed[group]; });
  describe_families(graph, planner, pruned, plan, result.stats);
  if (!executable(graph)) {
    context.warning(
        "channels were removed by the size of their weights only, which costs most of "
        "the accuracy, because the network has operators that cannot be run here");
  } else {
    prove(graph, pruned, planner.slots(), plan, context);
    if (context.data && options_.refit) {
      refit(graph, pruned, planner.slots(), plan, context, result.stats);
    } else if (options_.refit) {
      context.warning(
          "channels were removed by the size of their weights and nothing was fitted "
          "to data, which costs most of the accuracy; give calibration data to keep it");
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
