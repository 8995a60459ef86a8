#include "passes/lockstep_settings.h"

#include <algorithm>
#include <limits>

#include "passes/held_out.h"

namespace pare {
namespace {

/// Images a forward pass takes at once.
constexpr int64_t kBatch = 8;
/// Share of the memory that is for batches in work, and what a batch takes there: its tensors,
/// unpacked, and the same once more in the layouts of the engine.
constexpr int64_t kWorkShare = 8, kCopies = 3;
/// Batches get smaller until so many fit there.
constexpr int64_t kBatchesInWork = 4;
/// Share that samples get however tight it is.
constexpr int64_t kLeastShare = 4;
constexpr int64_t kProgram = int64_t{128} << 20;
/// Copies of the weights at once: the network, what is fitted, what is left of it, and solutions
/// that are kept until they are measured.
constexpr int64_t kWeightCopies = 4;
/// Rows of a problem that is solved in the dual because it is wide, at the most.
constexpr int64_t kMostDualRows = kWidestNormalEquations / 2;

/// Samples that fit when each takes `1 / packing` of its bytes.
int64_t room(const MemoryDemand& demand, int64_t max_memory, int64_t packing) {
  int64_t samples = std::numeric_limits<int64_t>::max();
  for (size_t i = 0; i < demand.sample.size(); ++i) {
    const int64_t left = std::max(max_memory / kLeastShare, max_memory - max_memory / kWorkShare -
                                                                demand.reserved - demand.fit[i]);
    const int64_t each = std::max<int64_t>(1, demand.sample[i].kept / packing);
    samples = std::min(samples, left / each);
  }
  return std::max<int64_t>(1, samples);
}

/// Rows of a fit of node `view` on so many samples.
int64_t rows_of(const Graph& graph, const PatchView& view, const ReconstructOptions& options,
                int64_t samples) {
  const Dim output = view.weighted().output;
  const Shape& shape = graph.shape(output.value);
  const int64_t channels = shape[static_cast<size_t>(output.axis)];
  const int64_t places =
      element_count(shape) / std::max<int64_t>(1, shape[0] * std::max<int64_t>(1, channels));
  return samples * std::min(places, options.positions);
}

/// What is known of how errors count [bytes].
int64_t metric_bytes(const ReconstructOptions& options) {
  int64_t bytes = 0;
  if (!options.metrics) return bytes;
  for (const auto& [id, metric] : *options.metrics)
    bytes += std::ssize(metric.weights.data) * static_cast<int64_t>(sizeof(double));
  return bytes;
}

}  // namespace

int64_t fit_bytes(const PatchView& view, int64_t rows) {
  const int64_t inputs = view.inputs() + 1, outputs = view.outputs();
  const bool primal = inputs <= kWidestNormalEquations + 1 && (rows >= inputs || view.groups() > 1);
  const int64_t few = std::min({rows, inputs, kMostDualRows});
  const int64_t square = primal ? 3 * inputs * inputs : 2 * few * (few + inputs);
  return 8 * view.groups() * (square + 4 * inputs * outputs);
}

MemoryPlan plan_memory(const MemoryDemand& demand, const MemoryPlan& wanted, int64_t max_memory) {
  MemoryPlan plan = wanted;
  int64_t in_work = 1;
  for (const LockstepBytes& entry : demand.sample) in_work = std::max(in_work, entry.in_work);
  const int64_t most = max_memory / kWorkShare;
  while (!demand.fixed_batch && plan.batch > 1 &&
         plan.batch * in_work * kCopies * kBatchesInWork > most)
    plan.batch /= 2;
  const int64_t at_once = std::max<int64_t>(1, most / (plan.batch * in_work * kCopies));
  plan.threads = static_cast<int>(std::min<int64_t>(wanted.threads, at_once));
  plan.packed = room(demand, max_memory, 1) < wanted.samples;
  plan.samples = std::min(wanted.samples, room(demand, max_memory, plan.packed ? 2 : 1));
  return plan;
}

Lockstep::Settings lockstep_settings(const Graph& original, const Graph& changed,
                                     const ReconstructOptions& options, const PassContext& context,
                                     LockstepNeeds needs) {
  const int64_t samples = std::min(options.samples, context.data->size());
  MemoryDemand demand{.sample = lockstep_bytes(original, changed, needs.held),
                      .reserved = needs.reserved + standing_bytes(original) + metric_bytes(options),
                      .fixed_batch = Dataset::max_batch(original) < kBatch};
  for (size_t i = 0; i < demand.sample.size(); ++i) {
    const NodeId id = changed.order()[i];
    const std::optional<PatchView> view =
        weighted_node(changed, id) ? PatchView::of(changed, id) : std::nullopt;
    const auto work = needs.in_work.find(id);
    if (work != needs.in_work.end())
      demand.sample[i].in_work = std::max(demand.sample[i].in_work, work->second);
    demand.fit.push_back(view ? fit_bytes(*view, rows_of(changed, *view, options, samples)) : 0);
  }
  MemoryPlan plan = plan_memory(demand,
                                {.samples = samples,
                                 .batch = std::min(kBatch, Dataset::max_batch(original)),
                                 .threads = context.threads},
                                options.max_memory);
  if (plan.samples < samples)
    context.warning("only " + std::to_string(plan.samples) + " of " + std::to_string(samples) +
                    " samples are used to fit weights, because activations of more would take "
                    "more memory than max-memory allows");
  // A fixed batch is always full.
  if (plan.samples > plan.batch) plan.samples -= plan.samples % plan.batch;
  return {.samples = context.data->spread(plan.samples),
          .batch = plan.batch,
          .threads = plan.threads,
          .packed = plan.packed,
          .held = std::move(needs.held)};
}

ReconstructOptions with_held_out(ReconstructOptions options, const Dataset& data) {
  options.samples = samples_looked_at(data, options.samples);
  return options;
}

int64_t standing_bytes(const Graph& graph) {
  int64_t bytes = 0;
  for (uint32_t i = 0; i < graph.value_count(); ++i) {
    if (const Tensor* constant = graph.constant(ValueId{i}))
      bytes += static_cast<int64_t>(constant->bytes().size());
  }
  return kProgram + kWeightCopies * bytes;
}

}  // namespace pare
