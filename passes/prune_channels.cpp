#include "passes/prune_channels.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "passes/prune_channels_obs.h"
#include "passes/prune_channels_proof.h"
#include "passes/prune_channels_score.h"
#include "passes/remove_slots.h"

namespace pare {
namespace {

/// Inner channels are thinned down to this share before residual streams are touched.
constexpr double kInnerShare = 0.25;
/// The same where what goes is decided by measured loss.
constexpr double kMeasuredShare = 0.1;
constexpr int64_t kProofSamples = 4;

/// `pattern` may hold * (any characters) and ? (one).
bool glob(std::string_view pattern, std::string_view text) {
  if (pattern.empty()) return text.empty();
  if (pattern[0] == '*') {
    return glob(pattern.substr(1), text) || (!text.empty() && glob(pattern, text.substr(1)));
  }
  return !text.empty() && (pattern[0] == '?' || pattern[0] == text[0]) &&
         glob(pattern.substr(1), text.substr(1));
}

bool matches(const Graph& graph, const Family& family, const std::vector<std::string>& patterns) {
  return std::ranges::any_of(family.producers, [&](const WeightedNode& producer) {
    return std::ranges::any_of(patterns, [&](const std::string& pattern) {
      return glob(pattern, graph.node(producer.node).name);
    });
  });
}

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
  PassStats run(Graph& graph, PassContext& context) override;

 private:
  struct Choice {
    std::vector<bool> doomed;  ///< By group.
    double before = 0, after = 0;
  };
  std::vector<Family> wanted_families(const Graph& graph, const ChannelSlots& slots) const;
  Choice choose(const Graph& graph, const ChannelSlots& slots, const std::vector<Family>& families,
                const PassContext& context) const;
  std::optional<std::vector<bool>> choose_by_size(const Graph& graph, const ChannelSlots& slots,
                                                  const std::vector<Family>& families,
                                                  double target) const;
  std::optional<std::vector<bool>> choose_by_measurement(const Graph& graph,
                                                         const ChannelSlots& slots,
                                                         const std::vector<Family>& families,
                                                         double target,
                                                         const PassContext& context) const;
  std::optional<std::vector<bool>> allocate(const Graph& graph, const ChannelSlots& slots,
                                            const std::vector<Family>& families, bool coupled,
                                            double share, double target) const;
  [[noreturn]] void refuse(const Graph& graph, const ChannelSlots& slots,
                           const std::vector<Family>& families, const Choice& choice,
                           double target) const;
  void prove(const Graph& graph, const Graph& pruned, const ChannelSlots& slots,
             const Choice& choice, const PassContext& context) const;
  void refit(const Graph& graph, Graph& pruned, const ChannelSlots& slots, const Choice& choice,
             const PassContext& context, PassStats& stats) const;
  void describe_families(const Graph& graph, const ChannelSlots& slots,
                         const std::vector<Family>& families, const Graph& pruned,
                         const Choice& choice, PassStats& stats) const;

  PruneChannelsOptions options_;
};

std::vector<Family> PruneChannels::wanted_families(const Graph& graph,
                                                   const ChannelSlots& slots) const {
  std::vector<Family> families = find_families(graph, slots);
  std::erase_if(families, [&](const Family& family) {
    return (!options_.include.empty() && !matches(graph, family, options_.include)) ||
           matches(graph, family, options_.exclude) ||
           (family.coupled && options_.coupled == PruneCoupled::kNo);
  });
  return families;
}

std::optional<std::vector<bool>> PruneChannels::allocate(const Graph& graph,
                                                         const ChannelSlots& slots,
                                                         const std::vector<Family>& families,
                                                         bool coupled, double share,
                                                         double target) const {
  std::vector<Family> used;
  std::ranges::copy_if(families, std::back_inserter(used),
                       [&](const Family& family) { return coupled || !family.coupled; });
  const AxisMap axes(slots, used);
  const SizeModel model(graph, axes, options_.budget.measure);
  std::vector<RankedFamily> ranked;
  for (const Family& family : used)
    ranked.push_back(
        rank_by_magnitude(graph, slots, family, options_.method == PruneMethod::kL1 ? 1 : 2));
  const AllocationLimits limits{.min_channels = options_.min_channels,
                                .multiple = options_.multiple,
                                .smallest_share = share};
  return allocate_uniform(ranked, axes, model, limits, slots.size(), target);
}

std::optional<std::vector<bool>> PruneChannels::choose_by_size(const Graph& graph,
                                                               const ChannelSlots& slots,
                                                               const std::vector<Family>& families,
                                                               double target) const {
  std::optional<std::vector<bool>> doomed;
  if (options_.coupled == PruneCoupled::kWhenNeeded)
    doomed = allocate(graph, slots, families, false, kInnerShare, target);
  return doomed ? doomed : allocate(graph, slots, families, true, 0, target);
}

std::optional<std::vector<bool>> PruneChannels::choose_by_measurement(
    const Graph& graph, const ChannelSlots& slots, const std::vector<Family>& families,
    double target, const PassContext& context) const {
  const AllocationLimits limits{.min_channels = options_.min_channels,
                                .multiple = options_.multiple,
                                .smallest_share = kMeasuredShare};
  const MeasuredFamilies measured =
      measure_families(graph, slots, families, limits, options_.reconstruct, context);
  const AxisMap axes(slots, families);
  const SizeModel model(graph, axes, options_.budget.measure);
  LossBudget budget{.slots = &slots,
                    .axes = &axes,
                    .model = &model,
                    .limits = limits,
                    .doomed = std::vector<bool>(slots.size()),
                    .target = target};
  if (options_.coupled != PruneCoupled::kYes) {
    std::optional<std::vector<bool>> doomed = choose_by_loss(measured, budget);
    if (doomed) return doomed;
  }
  // What could not be measured (residual streams) gives its even share by the size of weights.
  const std::optional<std::vector<bool>> even = allocate(graph, slots, families, true, 0, target);
  if (!even) return {};
  budget.doomed = *even;
  for (const Curve& curve : measured.curves) {
    for (uint32_t group : curve.family->groups) budget.doomed[group] = false;
  }
  std::optional<std::vector<bool>> doomed = choose_by_loss(measured, budget);
  return doomed ? doomed : even;
}

PruneChannels::Choice PruneChannels::choose(const Graph& graph, const ChannelSlots& slots,
                                            const std::vector<Family>& families,
                                            const PassContext& context) const {
  const AxisMap axes(slots, families);
  const SizeModel model(graph, axes, options_.budget.measure);
  Choice choice{.doomed = std::vector<bool>(slots.size())};
  choice.before = choice.after = model.without(choice.doomed);
  const double target = options_.budget.target(choice.before);
  if (choice.before <= target) return choice;
  const bool measure =
      options_.method == PruneMethod::kObs && context.data && executable(graph) && options_.refit;
  std::optional<std::vector<bool>> doomed =
      measure ? choose_by_measurement(graph, slots, families, target, context)
              : choose_by_size(graph, slots, families, target);
  if (!doomed) refuse(graph, slots, families, choice, target);
  choice.doomed = std::move(*doomed);
  choice.after = model.without(choice.doomed);
  return choice;
}

void PruneChannels::refuse(const Graph& graph, const ChannelSlots& slots,
                           const std::vector<Family>& families, const Choice& choice,
                           double target) const {
  const std::string unit = options_.budget.measure == Measure::kMacs ? " MACs" : " parameters";
  std::string reason = "limits on channels do not allow it";
  if (families.empty()) {
    reason = "no channels of it can be removed";
    for (NodeId id : graph.order()) {
      const std::optional<WeightedNode> weighted = weighted_node(graph, id);
      if (!weighted || slots.extent(weighted->output) == 0) continue;
      const std::string pin = slots.pin(slots.group_of(weighted->output, 0));
      if (!pin.empty()) reason += ": " + pin;
      if (!pin.empty()) break;
    }
  }
  throw Error(ErrorKind::kUnsupported,
              "the network has " + std::to_string(std::llround(choice.before)) + unit +
                  " and cannot be pruned to " + std::to_string(std::llround(target)) + ", for " +
                  reason);
}

void PruneChannels::prove(const Graph& graph, const Graph& pruned, const ChannelSlots& slots,
                          const Choice& choice, const PassContext& context) const {
  std::vector<Tensor> inputs;
  if (context.data) {
    const int64_t most = Dataset::max_batch(graph);
    inputs = context.data->batch(graph, 0, std::min({most, kProofSamples, context.data->size()}));
  } else {
    inputs = synthetic_inputs(graph);
  }
  prove_removal(
      graph, pruned, slots, [&](uint32_t group) { return choice.doomed[group]; }, inputs);
}

void PruneChannels::refit(const Graph& graph, Graph& pruned, const ChannelSlots& slots,
                          const Choice& choice, const PassContext& context,
                          PassStats& stats) const {
  const auto surviving = [&](Dim dim) {
    return slots.surviving(dim, [&](uint32_t group) { return choice.doomed[group]; });
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

void PruneChannels::describe_families(const Graph& graph, const ChannelSlots& slots,
                                      const std::vector<Family>& families, const Graph& pruned,
                                      const Choice& choice, PassStats& stats) const {
  const AxisMap none(slots, {});
  const double total = SizeModel(pruned, none, Measure::kMacs).without({});
  int64_t removed = 0;
  for (const Family& family : families) {
    const auto gone = static_cast<int64_t>(
        std::ranges::count_if(family.groups, [&](uint32_t group) { return choice.doomed[group]; }));
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
  stats["families"] = static_cast<int64_t>(families.size());
}

PassStats PruneChannels::run(Graph& graph, PassContext& context) {
  const ChannelSlots slots = ChannelSlots::analyze(graph);
  const std::vector<Family> families = wanted_families(graph, slots);
  const Choice choice = choose(graph, slots, families, context);
  PassStats stats;
  const std::string unit = options_.budget.measure == Measure::kMacs ? "MACs" : "parameters";
  stats[unit + " before"] = choice.before;
  stats[unit + " after"] = choice.after;
  if (std::ranges::none_of(choice.doomed, [](bool gone) { return gone; })) return stats;

  Graph pruned = graph;
  remove_slots(pruned, slots, [&](uint32_t group) { return choice.doomed[group]; });
  describe_families(graph, slots, families, pruned, choice, stats);
  if (!executable(graph)) {
    context.warning(
        "channels were removed by the size of their weights only, which costs most of "
        "the accuracy, because the network has operators that cannot be run here");
  } else {
    prove(graph, pruned, slots, choice, context);
    if (context.data && options_.refit) {
      refit(graph, pruned, slots, choice, context, stats);
    } else if (options_.refit) {
      context.warning(
          "channels were removed by the size of their weights and nothing was fitted "
          "to data, which costs most of the accuracy; give calibration data to keep it");
    }
  }
  graph = std::move(pruned);
  return stats;
}

}  // namespace

PruneChannelsOptions read_prune_channels(Options& options) {
  PruneChannelsOptions result;
  const auto budget = [&](const char* key, Measure measure) {
    const std::string text = options.text(key, "");
    if (text.empty()) return;
    try {
      result.budget = Budget::parse(measure, text);
    } catch (const Error& error) {
      options.fail(key, error.what());
    }
  };
  if (options.has("macs") && options.has("params"))
    options.fail("params", "give either macs or params, not both");
  budget("macs", Measure::kMacs);
  budget("params", Measure::kParameters);
  const std::string method = options.choice("method", "obs", {"obs", "l2", "l1"});
  result.method = method == "obs"  ? PruneMethod::kObs
                  : method == "l2" ? PruneMethod::kL2
                                   : PruneMethod::kL1;
  const std::string coupled = options.choice("coupled", "auto", {"auto", "yes", "no"});
  result.coupled = coupled == "auto"  ? PruneCoupled::kWhenNeeded
                   : coupled == "yes" ? PruneCoupled::kYes
                                      : PruneCoupled::kNo;
  result.min_channels = options.integer("min-channels", result.min_channels, 1, 1 << 20);
  result.multiple = options.integer("multiple", result.multiple, 1, 4096);
  result.include = options.list("include");
  result.exclude = options.list("exclude");
  result.refit = options.flag("refit", result.refit);
  ReconstructOptions& fit = result.reconstruct;
  fit.samples = options.integer("samples", fit.samples, 1, 1 << 30);
  fit.positions = options.integer("positions", fit.positions, 1, 1 << 20);
  fit.ridge = options.number("ridge", fit.ridge, 1e-6, 100);
  constexpr double kGigabyte = 1 << 30;
  fit.max_memory = static_cast<int64_t>(
      kGigabyte *
      options.number("max-memory", static_cast<double>(fit.max_memory) / kGigabyte, 0.01, 1e5));
  return result;
}

std::unique_ptr<Pass> make_prune_channels(const PruneChannelsOptions& options) {
  return std::make_unique<PruneChannels>(options);
}

}  // namespace pare
