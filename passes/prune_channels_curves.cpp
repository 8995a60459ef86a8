#include "passes/prune_channels_curves.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

#include "passes/lockstep_settings.h"
#include "passes/reconstruct_layer.h"
#include "support/parallel.h"

namespace pare {
namespace {

/// Shares of a family at which its effect on the network's outputs is measured.
constexpr double kShares[] = {0.75, 0.5, 0.25, 0.125};
/// Moments of consumers held before the curves that can be found are found [bytes]; no more than a
/// share of the memory.
constexpr int64_t kMostHeld = int64_t{256} << 20, kHeldShare = 12;
/// Share of the memory that eliminations at the same time may take together.
constexpr int64_t kSolveShare = 8;

/// What a consumer's errors are computed from.
struct Consumer {
  PatchView view;
  bool has_bias = false;  ///< A constant of its own.
  std::vector<Matrix> h, start, metric;
  double energy = 1;  ///< Of its results.

  /// Of its error beside that of other consumers.
  double weight() const { return metric.empty() && energy > 0 ? 1 / energy : 1; }
};

/// By node: its place in the order.
std::vector<size_t> positions(const Graph& graph) {
  std::vector<size_t> result(graph.node_count());
  for (size_t i = 0; i < graph.order().size(); ++i) result[index(graph.order()[i])] = i;
  return result;
}

/// The constant that holds a node's bias and nobody else uses, if any.
ValueId bias_constant(const Graph& graph, const WeightedNode& node, const ResultPath& path) {
  const ValueId bias = path.addend != kNoValue ? path.addend : node.bias;
  return bias != kNoValue && graph.value(bias).uses.size() == 1 ? bias : kNoValue;
}

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
        most_held_(std::min(kMostHeld, options.max_memory / kHeldShare)),
        position_(positions(graph)) {}

  std::vector<std::optional<ErrorCurve>> run() {
    for (const Family& family : families_)
      consumers_of_.push_back(fitted_consumers(graph_, family));
    curves_.resize(families_.size());
    for (size_t f = 0; f < families_.size(); ++f) {
      for (NodeId id : consumers_of_[f]) ++wanted_[id];
    }
    Lockstep lockstep(graph_, graph_, *context_.data,
                      lockstep_settings(graph_, graph_, with_held_out(options_, *context_.data),
                                        context_, {.reserved = most_held_}));
    const size_t end = end_of_fits(graph_);
    for (size_t i = 0; i < end; ++i) {
      const NodeId id = graph_.order()[i];
      context_.progress.step("measuring channels", static_cast<int64_t>(i),
                             static_cast<int64_t>(end));
      lockstep.run_original(id);
      if (wanted_.contains(id)) consumers_.emplace(id, consumer(id, lockstep));
      lockstep.release(i);
      if (bytes_held() > most_held_) find_curves();
    }
    find_curves();
    return std::move(curves_);
  }

 private:
  int64_t bytes_held() const {
    int64_t bytes = 0;
    for (const auto& [id, consumer] : consumers_) {
      for (const Matrix& h : consumer.h) bytes += h.rows * h.cols * 8;
    }
    return bytes;
  }

  /// Curves of all families whose consumers have been seen; moments that nobody needs any more go.
  void find_curves() {
    std::vector<size_t> ready;
    for (size_t f = 0; f < families_.size(); ++f) {
      const auto seen = [&](NodeId id) { return consumers_.contains(id); };
      if (!curves_[f] && !consumers_of_[f].empty() && std::ranges::all_of(consumers_of_[f], seen))
        ready.push_back(f);
    }
    for (std::span<const size_t> rest = ready; !rest.empty();) {
      const std::span<const size_t> wave = rest.first(fitting(rest));
      parallel_for(static_cast<int64_t>(wave.size()), context_.threads, [&](int64_t i) {
        context_.progress.check();
        const size_t f = wave[static_cast<size_t>(i)];
        const auto begun = std::chrono::steady_clock::now();
        ErrorCurve curve = find_curve(families_[f], least_[f], consumers_of_[f]);
        curve.seconds =
            std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
        curves_[f] = std::move(curve);
      });
      rest = rest.subspan(wave.size());
    }
    for (size_t f : ready) {
      for (NodeId id : consumers_of_[f]) {
        if (--wanted_[id] == 0) consumers_.erase(id);
      }
    }
  }

  /// How many of these families, one at the least, can be worked on at the same time.
  size_t fitting(std::span<const size_t> families) const {
    size_t count = 0;
    int64_t bytes = 0;
    for (size_t f : families) {
      for (NodeId id : consumers_of_[f]) {
        const PatchView& view = consumers_.at(id).view;
        bytes += fit_bytes(view, std::numeric_limits<int64_t>::max());
      }
      if (count > 0 && bytes > options_.max_memory / kSolveShare) break;
      ++count;
    }
    return count;
  }

  Consumer consumer(NodeId id, const Lockstep& lockstep) const {
    const PatchView view = *PatchView::of(graph_, id);
    const ResultPath path = follow_result(graph_, view.weighted(), position_);
    const LayerFit fit(graph_, graph_, lockstep, view, path, all_indices(), options_);
    Gram gram = fit.fitted_moments();
    Consumer result{.view = view,
                    .has_bias = bias_constant(graph_, view.weighted(), path) != kNoValue,
                    .h = std::move(gram.h),
                    .start = fit.start(),
                    .metric = fit.metric()};
    result.energy = 0;
    for (double energy : gram.energy) result.energy += energy;
    return result;
  }

  SurvivingIndices all_indices() const {
    return [this](Dim dim) { return slots_.surviving(dim, [](uint32_t) { return false; }); };
  }

  ErrorCurve find_curve(const Family& family, int64_t least,
                        const std::vector<NodeId>& nodes) const {
    ErrorCurve curve{.family = &family, .least = least};
    curve.consumers = nodes;
    std::vector<EliminationProblem> problems;
    for (NodeId id : nodes) {
      const Consumer& consumer = consumers_.at(id);
      const Dim input = consumer.view.weighted().input;
      const std::vector<int64_t> channels = all_indices()(input);
      const size_t width = channels.size() / consumer.h.size();
      for (size_t g = 0; g < consumer.h.size(); ++g)
        problems.push_back({.h = &consumer.h[g],
                            .start = &consumer.start[g],
                            .rows = rows_of_groups(slots_, family, input,
                                                   std::span(channels).subspan(g * width, width),
                                                   consumer.view.taps()),
                            .metric = consumer.metric.empty() ? nullptr : &consumer.metric[g],
                            .weight = consumer.weight(),
                            .has_bias = consumer.has_bias});
    }
    curve.kept = measured_counts(static_cast<int64_t>(family.groups.size()), least);
    Elimination found = backward_elimination(problems, options_.ridge, least, curve.kept);
    for (size_t candidate : found.order) curve.order.push_back(family.groups[candidate]);
    curve.error = std::move(found.error);
    curve.solutions = std::move(found.solutions);
    return curve;
  }

  const Graph& graph_;
  const ChannelSlots& slots_;
  const std::vector<Family>& families_;
  const std::vector<int64_t>& least_;
  const ReconstructOptions& options_;
  const PassContext& context_;
  int64_t most_held_;                              ///< Bytes of moments.
  std::vector<size_t> position_;                   ///< By node.
  std::vector<std::vector<NodeId>> consumers_of_;  ///< By family.
  std::map<NodeId, size_t> wanted_;                ///< Families that are yet to read it.
  std::map<NodeId, Consumer> consumers_;
  std::vector<std::optional<ErrorCurve>> curves_;
};

}  // namespace

Overrides fitted_weights(const Graph& graph, const ErrorCurve& curve, size_t point) {
  const std::vector<size_t> position = positions(graph);
  auto solution = curve.solutions[point].begin();
  Overrides result;
  for (NodeId id : curve.consumers) {
    const PatchView view = *PatchView::of(graph, id);
    std::vector<Matrix> matrices;
    for (int64_t g = 0; g < view.groups(); ++g) matrices.push_back((solution++)->matrix());
    result.emplace(view.weighted().weight_input.value, view.weight_of(graph, matrices));
    const ResultPath path = follow_result(graph, view.weighted(), position);
    const ValueId constant = bias_constant(graph, view.weighted(), path);
    if (constant == kNoValue) continue;
    const Tensor bias = view.bias_of(graph, matrices);
    const Shape& shape = graph.shape(constant);
    if (element_count(shape) == bias.size()) result.emplace(constant, bias.reshaped(shape));
  }
  return result;
}

std::vector<int64_t> measured_counts(int64_t count, int64_t least) {
  std::vector<int64_t> counts;
  for (const double share : kShares) {
    const auto kept =
        std::max(least, static_cast<int64_t>(std::llround(share * static_cast<double>(count))));
    if (kept < (counts.empty() ? count : counts.back())) counts.push_back(kept);
  }
  return counts;
}

std::vector<std::vector<int64_t>> rows_of_groups(const ChannelSlots& slots, const Family& family,
                                                 Dim input, std::span<const int64_t> channels,
                                                 int64_t taps) {
  std::map<uint32_t, size_t> candidate;
  for (size_t i = 0; i < family.groups.size(); ++i) candidate[family.groups[i]] = i;
  std::vector<std::vector<int64_t>> rows(family.groups.size());
  for (size_t c = 0; c < channels.size(); ++c) {
    const auto entry = candidate.find(slots.group_of(input, channels[c]));
    if (entry == candidate.end()) continue;
    for (int64_t tap = 0; tap < taps; ++tap)
      rows[entry->second].push_back(static_cast<int64_t>(c) * taps + tap);
  }
  return rows;
}

std::vector<NodeId> fitted_consumers(const Graph& graph, const Family& family) {
  std::vector<NodeId> nodes;
  for (const WeightedNode& consumer : family.consumers) {
    if (is_depthwise(graph, consumer)) continue;
    const std::optional<PatchView> view = PatchView::of(graph, consumer.node);
    if (!view || view->inputs() > kWidestNormalEquations ||
        graph.value(consumer.weight_input.value).uses.size() != 1)
      return {};
    nodes.push_back(consumer.node);
  }
  return nodes;
}

std::vector<std::optional<ErrorCurve>> measure_curves(const Graph& graph, const ChannelSlots& slots,
                                                      const std::vector<Family>& families,
                                                      const std::vector<int64_t>& least,
                                                      const ReconstructOptions& options,
                                                      const PassContext& context) {
  return CurveFinder(graph, slots, families, least, options, context).run();
}

}  // namespace pare
