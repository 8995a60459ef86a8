#include "passes/prune_channels_refine.h"

#include <algorithm>

#include "calib/backward_elimination.h"
#include "calib/compare.h"
#include "exec/interpreter.h"
#include "passes/graph_edit.h"
#include "passes/held_out.h"
#include "passes/output_loss.h"
#include "passes/prune_channels_sensitivity.h"
#include "passes/remove_slots.h"

namespace pare {
namespace {

/// Samples a loss is measured on around the pruned network, and on which networks compete.
constexpr int64_t kHeldOut = 256;
constexpr int64_t kProofSamples = 4;
/// Measuring around the pruned network may take so much: where it takes more, what it gains was not
/// worth the time (../bench/pruning/NOTES.md) [MACs].
constexpr double kMostWorkAround = 1e12;
/// Largest relative difference that rounding is let to make.
constexpr double kTolerance = 1e-3;

using Doomed = std::vector<bool>;  ///< By group.

SurvivingIndices surviving(const ChannelSlots& slots, const Doomed& doomed) {
  return
      [&](Dim dim) { return slots.surviving(dim, [&](uint32_t group) { return doomed[group]; }); };
}

/// Where the elements of `part` are in `whole`; both ascend.
std::vector<int64_t> places(const std::vector<int64_t>& part, const std::vector<int64_t>& whole) {
  std::vector<int64_t> result;
  for (size_t i = 0; i < whole.size(); ++i) {
    if (result.size() < part.size() && part[result.size()] == whole[i])
      result.push_back(static_cast<int64_t>(i));
  }
  return result;
}

TensorRef constant_of(const Graph& graph, ValueId id) {
  return id == kNoValue ? TensorRef() : graph.value(id).constant;
}

/// Keeps the consumers of measured families from using what goes, and chooses that anew where a
/// family has one consumer and the consumer no other family.
class StreamChooser final : public InputChooser {
 public:
  /// `gone` are the groups that the graph to be fitted has no more.
  StreamChooser(const Graph& original, const PrunePlanner& planner, Doomed doomed,
                const Doomed& gone, double ridge)
      : original_(original),
        slots_(planner.slots()),
        axes_(planner.axes(), slots_.size()),
        measured_(planner.measured()->curves),
        doomed_(std::move(doomed)),
        gone_(gone),
        ridge_(ridge) {
    for (size_t f = 0; f < measured_.size(); ++f) {
      for (NodeId id : fitted_consumers(original, *measured_[f].family)) families_[id].push_back(f);
    }
  }

  bool restricts(NodeId node) const override { return families_.contains(node); }

  std::vector<std::vector<int64_t>> choose(const LayerMoments& layer) override {
    const std::vector<size_t>& families = families_.at(layer.node);
    const Dim input = weighted_node(original_, layer.node)->input;
    const std::vector<int64_t> channels = surviving(slots_, gone_)(input);
    const ErrorCurve& first = measured_[families[0]];
    if (families.size() == 1 && fitted_consumers(original_, *first.family).size() == 1)
      eliminate(layer, first, input, channels);

    const int64_t groups = layer.view.groups(), taps = layer.view.taps();
    const auto width = static_cast<int64_t>(channels.size()) / groups;
    std::vector<std::vector<int64_t>> kept(static_cast<size_t>(groups));
    for (size_t c = 0; c < channels.size(); ++c) {
      if (doomed_[slots_.group_of(input, channels[c])]) continue;
      const auto channel = static_cast<int64_t>(c);
      for (int64_t tap = 0; tap < taps; ++tap)
        kept[static_cast<size_t>(channel / width)].push_back(channel % width * taps + tap);
    }
    return kept;
  }

  const Doomed& doomed() const { return doomed_; }
  /// What was found about the families that were chosen anew: curves from the pruned network's
  /// activations, that begin at all groups.
  std::vector<ErrorCurve>& curves() { return curves_; }

 private:
  void eliminate(const LayerMoments& layer, const ErrorCurve& measured, Dim input,
                 const std::vector<int64_t>& channels) {
    const Family& family = *measured.family;
    const auto count = static_cast<int64_t>(family.groups.size());
    const int64_t target = count - std::ranges::count_if(family.groups, [&](uint32_t group) {
                             return doomed_[group];
                           });
    ErrorCurve curve{.family = &family, .least = std::min(measured.least, target)};
    curve.kept = measured_counts(count, curve.least);
    curve.kept.insert(curve.kept.begin(), count);
    double energy = 0;
    for (double e : layer.gram.energy) energy += e;
    std::vector<EliminationProblem> problems;
    const size_t width = channels.size() / layer.start.size();
    for (size_t g = 0; g < layer.start.size(); ++g)
      problems.push_back(
          {.h = &layer.gram.h[g],
           .start = &layer.start[g],
           .g = &layer.gram.g[g],
           .rows = rows_of_groups(slots_, family, input,
                                  std::span(channels).subspan(g * width, width), layer.view.taps()),
           .metric = layer.metric.empty() ? nullptr : &layer.metric[g],
           .weight = layer.metric.empty() && energy > 0 ? 1 / energy : 1,
           .has_bias = layer.has_bias});
    Elimination found = backward_elimination(problems, ridge_, curve.least, curve.kept);
    for (size_t candidate : found.order) curve.order.push_back(family.groups[candidate]);
    if (!doom_first(family, curve.order, count - target)) return;
    curve.error = std::move(found.error);
    curve.consumers = {layer.node};
    curve.solutions = std::move(found.solutions);
    curves_.push_back(std::move(curve));
  }

  /// Dooms so many groups of the family, the first that no axis needs; false where there are too
  /// few.
  bool doom_first(const Family& family, const std::vector<uint32_t>& order, int64_t count) {
    Doomed doomed = doomed_;
    for (uint32_t group : family.groups) doomed[group] = false;
    AxisGuard guard(axes_);
    for (uint32_t group = 0; group < doomed.size(); ++group) {
      if (doomed[group]) guard.take(group);
    }
    for (uint32_t group : order) {
      if (count > 0 && guard.take(group)) doomed[group] = true, --count;
    }
    if (count > 0) return false;
    doomed_ = std::move(doomed);
    return true;
  }

  const Graph& original_;
  const ChannelSlots& slots_;
  const SharedAxes axes_;
  const std::vector<ErrorCurve>& measured_;
  Doomed doomed_;
  const Doomed& gone_;
  double ridge_;
  std::map<NodeId, std::vector<size_t>> families_;  ///< That a consumer reads.
  std::vector<ErrorCurve> curves_;
};

class Refiner {
 public:
  Refiner(const Graph& graph, const PrunePlanner& planner, const ReconstructOptions& options,
          const PassContext& context)
      : graph_(graph),
        planner_(planner),
        options_(options),
        context_(context),
        masked_(graph),
        held_out_(unfitted_samples(*context.data, options.samples, kHeldOut)) {}

  FittedPruning run(const Budget& budget, const PrunePlan& plan) {
    FittedPruning best = fit(plan);
    if (work_around() <= kMostWorkAround && !held_out_.empty()) {
      const MeasuredFamilies around = measure_around();
      const std::optional<PrunePlan> second =
          planner_.plan(budget, averaged(*planner_.measured(), around));
      if (second) {
        FittedPruning other = fit(*second);
        if (other.loss < best.loss) best = std::move(other);
        best.tried = 2;
      }
    }
    around_.clear();  // As large as the network.
    polish(best);
    return best;
  }

 private:
  /// Sweeps with the plan's channels ignored, then cuts them out. Leaves masked_ and around_.
  FittedPruning fit(const PrunePlan& plan) {
    const ChannelSlots& slots = planner_.slots();
    const std::vector<ErrorCurve>& curves = planner_.measured()->curves;
    Doomed gone = plan.doomed;
    for (const ErrorCurve& curve : curves) {
      for (uint32_t group : curve.family->groups) gone[group] = false;
    }
    masked_ = graph_;
    if (std::ranges::find(gone, true) != gone.end())
      remove_slots(masked_, slots, [&](uint32_t group) { return gone[group]; });
    const Graph unfitted = masked_;
    StreamChooser chooser(graph_, planner_, plan.doomed, gone, options_.ridge);
    FittedPruning result{.plan = plan, .pruned = graph_};
    ReconstructOptions plain = options_;
    plain.producer_steps = 0;  // Left to polish(), when it is settled what goes.
    result.fit = reconstruct(graph_, masked_, surviving(slots, gone), plain, context_, &chooser);
    result.plan.doomed = chooser.doomed();
    result.plan.after = planner_.model().without(chooser.doomed());
    remove_slots(result.pruned, slots, [&](uint32_t group) { return chooser.doomed()[group]; });
    copy_weights(unfitted, gone, chooser.doomed(), result.pruned);
    check_that_masked_is_pruned(result.pruned);
    if (!held_out_.empty()) result.loss = output_loss(graph_, result.pruned, held_out_, context_);
    around_ = std::move(chooser.curves());
    return result;
  }

  /// Fits once more, with producers bettered for their consumers' sake; kept where it helps.
  void polish(FittedPruning& best) const {
    if (options_.producer_steps == 0 || held_out_.empty()) return;
    Graph polished = best.pruned;
    const ReconstructResult fit = reconstruct(
        graph_, polished, surviving(planner_.slots(), best.plan.doomed), options_, context_);
    const double loss = output_loss(graph_, polished, held_out_, context_);
    if (!(loss < best.loss)) return;
    best.loss = loss;
    best.pruned = std::move(polished);
    best.fit.producers = fit.producers;
  }

  /// Gives the small network what was fitted in the masked one.
  void copy_weights(const Graph& unfitted, const Doomed& gone, const Doomed& doomed,
                    Graph& pruned) const {
    const ChannelSlots& slots = planner_.slots();
    for (NodeId id : graph_.order()) {
      const Node &before = graph_.node(id), &after = masked_.node(id);
      const std::optional<WeightedNode> weighted = weighted_node(graph_, id);
      for (size_t slot = 0; slot < after.inputs.size(); ++slot) {
        const TensorRef fitted = constant_of(masked_, after.inputs[slot]);
        const ValueId old = before.has_input(slot) ? before.inputs[slot] : kNoValue;
        if (!fitted || (slot < unfitted.node(id).inputs.size() &&
                        fitted == constant_of(unfitted, unfitted.node(id).inputs[slot])))
          continue;
        Tensor tensor = *fitted;
        for (int axis = 0; axis < static_cast<int>(tensor.shape().size()); ++axis) {
          // A bias that was none, or one number for all.
          const bool added = weighted && slot == 2 &&
                             (old == kNoValue || graph_.shape(old).size() != 1 ||
                              element_count(graph_.shape(old)) == 1);
          const Dim dim = added ? weighted->output : Dim{old, axis};
          const std::vector<int64_t> kept =
              places(surviving(slots, doomed)(dim), surviving(slots, gone)(dim));
          if (static_cast<int64_t>(kept.size()) < tensor.shape()[static_cast<size_t>(axis)])
            tensor = gather(tensor, axis, kept);
        }
        set_constant_operand(pruned, id, slot, std::move(tensor));
      }
    }
    pruned.infer_types();
  }

  void check_that_masked_is_pruned(const Graph& pruned) const {
    const int64_t most = Dataset::max_batch(graph_);
    const std::vector<Tensor> inputs =
        context_.data->batch(graph_, 0, std::min({most, kProofSamples, context_.data->size()}));
    const Comparison difference =
        compare_outputs(execute(masked_, inputs), execute(pruned, inputs));
    PARE_CHECK(difference.max_relative_error <= kTolerance,
               "ignoring channels does not do what removing them does; relative difference " +
                   std::to_string(difference.max_relative_error));
  }

  /// What measure_around() would take [MACs].
  double work_around() const {
    double work = 0;
    for (const ErrorCurve& curve : around_)
      work += sensitivity_work(graph_, curve.consumers, curve.kept.size());
    return work * static_cast<double>(held_out_.size());
  }

  /// Losses of the families around the network fitted last.
  MeasuredFamilies measure_around() {
    MeasuredFamilies result{.curves = std::move(around_)};
    std::vector<const ErrorCurve*> curves;
    for (const ErrorCurve& curve : result.curves) curves.push_back(&curve);
    result.losses =
        measure_sensitivities(masked_, graph_, curves, held_out_, options_.max_memory, context_);
    for (size_t f = 0; f < result.curves.size(); ++f) {
      const double all = result.losses[f][0];
      for (double& loss : result.losses[f]) loss -= all;
      result.curves[f].solutions.clear();
    }
    return result;
  }

  const Graph& graph_;
  const PrunePlanner& planner_;
  const ReconstructOptions& options_;
  const PassContext& context_;
  Graph masked_;
  std::vector<int64_t> held_out_;
  std::vector<ErrorCurve> around_;  ///< Of the network in masked_.
};

}  // namespace

FittedPruning fit_and_refine(const Graph& graph, const PrunePlanner& planner, const Budget& budget,
                             const PrunePlan& plan, const ReconstructOptions& options,
                             const PassContext& context) {
  return Refiner(graph, planner, options, context).run(budget, plan);
}

}  // namespace pare
