#include "passes/prune_channels_curves.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "calib/backward_elimination.h"
#include "passes/lockstep.h"
#include "passes/reconstruct_layer.h"
#include "support/parallel.h"

namespace pare {
namespace {

/// Shares of a family at which its effect on the network's outputs is measured.
constexpr double kShares[] = {0.75, 0.5, 0.25, 0.125};
/// Inverting a wider Gram matrix takes too long [columns].
constexpr int64_t kWidest = 6000;

/// What a consumer's errors are computed from.
struct Consumer {
  PatchView view;
  ResultPath path;
  ValueId bias = kNoValue;  ///< The constant that holds its bias; none when it has none.
  std::vector<Matrix> h, start;
  double energy = 1;  ///< Of its results.
};

class CurveFinder {
 public:
  CurveFinder(const Graph& graph, const ChannelSlots& slots, const std::vector<Family>& families,
              const std::vector<int64_t>& least, const ReconstructOptions& options,
              const PassContext& context)
      : graph_(graph),
        slots_(slots),
        families_(families),
        least_(least),
        options_(options),
        context_(context),
        position_(graph.node_count()) {
    for (size_t i = 0; i < graph.order().size(); ++i) position_[index(graph.order()[i])] = i;
  }

  std::vector<std::optional<Curve>> run() {
    std::vector<std::vector<NodeId>> consumers;
    for (const Family& family : families_) consumers.push_back(fitted_consumers(graph_, family));
    gather_moments(consumers);
    std::vector<std::optional<Curve>> curves(families_.size());
    parallel_for(static_cast<int64_t>(families_.size()), context_.threads, [&](int64_t i) {
      context_.progress.check();
      const auto family = static_cast<size_t>(i);
      if (consumers[family].empty()) return;
      const auto begun = std::chrono::steady_clock::now();
      Curve curve = find_curve(families_[family], least_[family], consumers[family]);
      curve.seconds =
          std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
      curves[family] = std::move(curve);
    });
    return curves;
  }

 private:
  void gather_moments(const std::vector<std::vector<NodeId>>& wanted) {
    std::vector<bool> is_wanted(graph_.node_count());
    for (const std::vector<NodeId>& nodes : wanted) {
      for (NodeId id : nodes) is_wanted[index(id)] = true;
    }
    Lockstep lockstep(graph_, graph_, *context_.data,
                      lockstep_settings(graph_, graph_, options_, context_));
    for (size_t i = 0; i < graph_.order().size(); ++i) {
      const NodeId id = graph_.order()[i];
      context_.progress.step("measuring channels", static_cast<int64_t>(i),
                             static_cast<int64_t>(graph_.order().size()));
      lockstep.run_original(id);
      if (is_wanted[index(id)]) consumers_.emplace(id, consumer(id, lockstep));
      lockstep.release(i);
    }
  }

  Consumer consumer(NodeId id, const Lockstep& lockstep) const {
    const PatchView view = *PatchView::of(graph_, id);
    const ResultPath path = follow_result(graph_, view.weighted(), position_);
    const LayerFit fit(graph_, graph_, lockstep, view, path, all_indices(), options_);
    Gram gram = fit.moments();
    Consumer result{.view = view, .path = path, .h = std::move(gram.h), .start = fit.start()};
    result.energy = 0;
    for (double energy : gram.energy) result.energy += energy;
    result.bias = path.addend != kNoValue ? path.addend : view.weighted().bias;
    if (result.bias != kNoValue && graph_.value(result.bias).uses.size() != 1)
      result.bias = kNoValue;
    return result;
  }

  SurvivingIndices all_indices() const {
    return [this](Dim dim) { return slots_.surviving(dim, [](uint32_t) { return false; }); };
  }

  /// Rows of H of one convolution group that each of the family's groups takes with it.
  std::vector<std::vector<int64_t>> rows_of(const Family& family, const Consumer& consumer,
                                            int64_t conv_group) const {
    std::map<uint32_t, size_t> candidate;
    for (size_t i = 0; i < family.groups.size(); ++i) candidate[family.groups[i]] = i;
    std::vector<std::vector<int64_t>> rows(family.groups.size());
    const Dim input = consumer.view.weighted().input;
    const int64_t taps = consumer.view.taps(), channels = consumer.view.inputs() / taps;
    for (int64_t c = 0; c < channels; ++c) {
      const auto entry = candidate.find(slots_.group_of(input, conv_group * channels + c));
      if (entry == candidate.end()) continue;
      for (int64_t tap = 0; tap < taps; ++tap) rows[entry->second].push_back(c * taps + tap);
    }
    return rows;
  }

  Curve find_curve(const Family& family, int64_t least, const std::vector<NodeId>& nodes) const {
    Curve curve{.family = &family, .first_consumer = graph_.order().size(), .least = least};
    std::vector<EliminationProblem> problems;
    for (NodeId id : nodes) {
      const Consumer& consumer = consumers_.at(id);
      curve.first_consumer = std::min(curve.first_consumer, position_[index(id)]);
      for (size_t g = 0; g < consumer.h.size(); ++g)
        problems.push_back({.h = &consumer.h[g],
                            .start = &consumer.start[g],
                            .rows = rows_of(family, consumer, static_cast<int64_t>(g)),
                            .weight = consumer.energy > 0 ? 1 / consumer.energy : 1,
                            .has_bias = consumer.bias != kNoValue});
    }
    const auto count = static_cast<int64_t>(family.groups.size());
    curve.kept = measured_counts(count, least);
    const Elimination found = backward_elimination(problems, options_.ridge, least, curve.kept);
    for (size_t candidate : found.order) curve.order.push_back(family.groups[candidate]);
    curve.error = found.error;
    for (const std::vector<Matrix>& solutions : found.solutions)
      curve.fitted.push_back(overrides(nodes, solutions));
    return curve;
  }

  Overrides overrides(const std::vector<NodeId>& nodes,
                      const std::vector<Matrix>& solutions) const {
    Overrides result;
    auto next = solutions.begin();
    for (NodeId id : nodes) {
      const Consumer& consumer = consumers_.at(id);
      const auto end = next + static_cast<ptrdiff_t>(consumer.h.size());
      const std::vector<Matrix> m(next, end);
      next = end;
      result.emplace(consumer.view.weighted().weight_input.value,
                     consumer.view.weight_of(graph_, m));
      if (consumer.bias != kNoValue) {
        const Tensor bias = consumer.view.bias_of(graph_, m);
        const Shape& shape = graph_.shape(consumer.bias);
        if (element_count(shape) == bias.size())
          result.emplace(consumer.bias, bias.reshaped(shape));
      }
    }
    return result;
  }

  const Graph& graph_;
  const ChannelSlots& slots_;
  const std::vector<Family>& families_;
  const std::vector<int64_t>& least_;
  const ReconstructOptions& options_;
  const PassContext& context_;
  std::vector<size_t> position_;  ///< By node.
  std::map<NodeId, Consumer> consumers_;
};

}  // namespace

std::vector<int64_t> measured_counts(int64_t count, int64_t least) {
  std::vector<int64_t> counts;
  for (const double share : kShares) {
    const auto kept =
        std::max(least, static_cast<int64_t>(std::llround(share * static_cast<double>(count))));
    if (kept < (counts.empty() ? count : counts.back())) counts.push_back(kept);
  }
  return counts;
}

std::vector<NodeId> fitted_consumers(const Graph& graph, const Family& family) {
  std::vector<NodeId> nodes;
  if (family.coupled) return nodes;
  for (const WeightedNode& consumer : family.consumers) {
    const bool depthwise = std::ranges::any_of(
        family.producers, [&](const WeightedNode& other) { return other.node == consumer.node; });
    if (depthwise) continue;
    const std::optional<PatchView> view = PatchView::of(graph, consumer.node);
    if (!view || view->inputs() > kWidest ||
        graph.value(consumer.weight_input.value).uses.size() != 1)
      return {};
    nodes.push_back(consumer.node);
  }
  return nodes;
}

std::vector<std::optional<Curve>> measure_curves(const Graph& graph, const ChannelSlots& slots,
                                                 const std::vector<Family>& families,
                                                 const std::vector<int64_t>& least,
                                                 const ReconstructOptions& options,
                                                 const PassContext& context) {
  return CurveFinder(graph, slots, families, least, options, context).run();
}

}  // namespace pare
