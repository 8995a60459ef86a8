#include "passes/prune_channels_sensitivity.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "calib/runner.h"
#include "exec/engine.h"
#include "ir/slice.h"
#include "passes/graph_edit.h"
#include "passes/held_out.h"
#include "passes/lockstep_settings.h"
#include "passes/output_loss.h"
#include "support/parallel.h"

namespace pare {
namespace {

constexpr int64_t kBatch = 8;
/// Work the tails may take in all; fewer samples are used beyond it [MACs].
constexpr double kMostWork = 2.5e12;
constexpr int64_t kFewestSamples = 16;

using Values = std::vector<Tensor>;

/// Runs the graph from cut to cut and, from any of them on, tails with other weights.
class TailRunner {
 public:
  TailRunner(const Graph& graph, const Graph& reference, const std::vector<int64_t>& from,
             const PassContext& context, const MemoryPlan& plan)
      : graph_(graph), context_(context), plan_(plan) {
    const int64_t batch = plan.batch;
    int64_t samples = plan.samples;
    if (samples > batch) samples -= samples % batch;
    samples_ = samples;
    const std::vector<int64_t> chosen = spread(from, samples);
    const Engine engine(reference);
    batches_.resize(static_cast<size_t>((samples + batch - 1) / batch));
    references_.resize(batches_.size());
    for_batches([&](size_t b) {
      const auto first = static_cast<int64_t>(b) * batch;
      const auto begin = chosen.begin() + first;
      const Values inputs =
          context.data->samples(graph, {begin, begin + std::min(batch, samples - first)});
      for (size_t i = 0; i < inputs.size(); ++i) batches_[b][graph.inputs()[i]] = stored(inputs[i]);
      references_[b] = engine.run(inputs);
    });
  }

  /// Goes on to the node at `position` of the order.
  void advance(size_t position) {
    if (position == position_) return;
    const Graph piece = slice(graph_, position_, position);
    const Graph rest = slice(graph_, position, graph_.order().size());
    const Engine engine(piece);
    for_batches([&](size_t b) {
      Values results = engine.run(inputs_of(piece, b));
      for (size_t i = 0; i < results.size(); ++i)
        batches_[b][piece.outputs()[i]] = stored(std::move(results[i]));
      std::erase_if(batches_[b], [&](const auto& entry) {
        return std::ranges::find(rest.inputs(), entry.first) == rest.inputs().end();
      });
    });
    position_ = position;
  }

  /// Mean loss when everything from where the runner is runs with other weights.
  double tail(const Overrides& overrides) {
    Graph rest = slice(graph_, position_, graph_.order().size());
    for (const auto& [id, tensor] : overrides) rest.set_constant(id, tensor);
    const Engine engine(rest);
    std::vector<double> losses(batches_.size());
    for_batches(
        [&](size_t b) { losses[b] = loss_of(references_[b], engine.run(inputs_of(rest, b))); });
    double sum = 0;
    for (double x : losses) sum += x;
    return sum / static_cast<double>(samples_);
  }

 private:
  void for_batches(const std::function<void(size_t)>& body) {
    context_.progress.check();
    parallel_for(static_cast<int64_t>(batches_.size()), plan_.threads,
                 [&](int64_t b) { body(static_cast<size_t>(b)); });
  }

  Values inputs_of(const Graph& piece, size_t b) const {
    Values inputs;
    for (ValueId id : piece.inputs()) inputs.push_back(batches_[b].at(id).tensor());
    return inputs;
  }

  StoredTensor stored(Tensor tensor) const {
    return plan_.packed ? StoredTensor::packed(tensor) : StoredTensor::exact(std::move(tensor));
  }

  const Graph& graph_;
  const PassContext& context_;
  const MemoryPlan plan_;
  size_t position_ = 0;
  int64_t samples_ = 0;
  std::vector<std::map<ValueId, StoredTensor>> batches_;  ///< What the nodes to come read.
  std::vector<Values> references_;
};

/// MACs of the nodes from each position of the order on.
std::vector<double> tail_work(const Graph& graph) {
  std::vector<double> work(graph.order().size() + 1, 0);
  for (size_t i = graph.order().size(); i-- > 0;) {
    const Node& node = graph.node(graph.order()[i]);
    work[i] = work[i + 1];
    const auto known = [&](ValueId id) { return id == kNoValue || graph.type(id).known(); };
    if (node.def && node.def->macs && std::ranges::all_of(node.inputs, known) &&
        std::ranges::all_of(node.outputs, known))
      work[i] +=
          static_cast<double>(node.def->macs(node, graph.operands(node), graph.output_types(node)));
  }
  return work;
}

/// What a sample takes while the tails run: what is kept at their cuts, and its outputs.
MemoryDemand demand_of_tails(const Graph& graph, const std::vector<size_t>& cuts) {
  MemoryDemand demand{.sample = lockstep_bytes(graph, graph, {}),
                      .reserved = standing_bytes(graph),
                      .fixed_batch = Dataset::max_batch(graph) < kBatch};
  int64_t outputs = 0;
  for (ValueId id : graph.outputs()) outputs += bytes_per_sample(graph, id);
  for (size_t i = 0; i < demand.sample.size(); ++i) {
    // Outputs are never packed.
    const bool cut = std::ranges::find(cuts, i) != cuts.end();
    demand.sample[i].kept = 2 * outputs + (cut ? demand.sample[i].kept : 0);
  }
  demand.fit.resize(demand.sample.size());
  return demand;
}

/// Position of the first of some nodes in the order; its end where there are none.
size_t first_of(const Graph& graph, const std::vector<NodeId>& nodes) {
  return static_cast<size_t>(std::ranges::find_first_of(graph.order(), nodes) -
                             graph.order().begin());
}

}  // namespace

double sensitivity_work(const Graph& graph, const std::vector<NodeId>& consumers, size_t counts) {
  return tail_work(graph)[first_of(graph, consumers)] * static_cast<double>(counts);
}

std::vector<std::vector<double>> measure_sensitivities(const Graph& whole, const Graph& reference,
                                                       const std::vector<const ErrorCurve*>& curves,
                                                       const std::vector<int64_t>& samples,
                                                       int64_t max_memory,
                                                       const PassContext& context,
                                                       const SensitivitySharing& sharing) {
  const Graph graph = judged(whole);
  const std::vector<double> work = tail_work(graph);
  std::vector<size_t> cuts;
  double here = 1;  // MACs a sample, of all tails.
  for (const ErrorCurve* curve : curves) {
    cuts.push_back(first_of(graph, curve->consumers));
    here += work[cuts.back()] * static_cast<double>(curve->kept.size());
  }
  const double per_sample = here + sharing.work_elsewhere;
  const auto wanted =
      std::min(static_cast<int64_t>(samples.size()),
               std::max(kFewestSamples, static_cast<int64_t>(kMostWork / per_sample)));

  const MemoryPlan plan = plan_memory(demand_of_tails(graph, cuts),
                                      {.samples = wanted,
                                       .batch = std::min(kBatch, Dataset::max_batch(graph)),
                                       .threads = context.threads},
                                      max_memory);
  TailRunner runner(graph, judged(reference), samples, context, plan);
  std::vector<std::vector<double>> losses(curves.size());
  double finished = 0;  // In per cent of the work, for tails get shorter and shorter.
  const auto report = [&] {
    context.progress.step("measuring sensitivities, per cent",
                          static_cast<int64_t>(100 * finished / here), 100);
  };
  report();
  for (size_t position = 0; position < graph.order().size(); ++position) {
    for (size_t c = 0; c < curves.size(); ++c) {
      if (cuts[c] != position) continue;
      runner.advance(position);
      double worst = 0;
      const auto begun = std::chrono::steady_clock::now();
      for (size_t point = 0; point < curves[c]->kept.size(); ++point) {
        worst = std::max(worst, runner.tail(fitted_weights(graph, *curves[c], point)));
        losses[c].push_back(worst);
        finished += work[position];
        report();
      }
      const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begun;
      if (sharing.done) sharing.done(c, losses[c], taken.count());
    }
  }
  return losses;
}

}  // namespace pare
