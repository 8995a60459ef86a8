#include "passes/prune_channels_sensitivity.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "calib/runner.h"
#include "exec/interpreter.h"
#include "support/parallel.h"

namespace pare {
namespace {

/// Softens the distributions compared, so that all logits count and not only the largest.
constexpr double kTemperature = 4;
constexpr int64_t kBatch = 8;
/// Work the tails may take in all; fewer samples are used beyond it [MACs].
constexpr double kMostWork = 2.5e12;
constexpr int64_t kFewestSamples = 16;

using Values = std::vector<Tensor>;  ///< By value.

/// Softened log-softmax of one row.
std::vector<double> log_softmax(std::span<const float> row, bool distribution) {
  std::vector<double> z;
  for (float x : row) {
    const double value = static_cast<double>(x);
    z.push_back((distribution ? std::log(std::max(value, 1e-12)) : value) / kTemperature);
  }
  const double top = *std::ranges::max_element(z);
  double sum = 0;
  for (double x : z) sum += std::exp(x - top);
  for (double& x : z) x -= top + std::log(sum);
  return z;
}

bool is_distribution(std::span<const float> row) {
  double sum = 0;
  for (float x : row) {
    if (x < 0) return false;
    sum += static_cast<double>(x);
  }
  return std::abs(sum - 1) < 1e-3;
}

double kl_of_rows(const Tensor& reference, const Tensor& output) {
  const auto classes = static_cast<size_t>(reference.shape()[1]);
  const std::span<const float> a = reference.data<float>(), b = output.data<float>();
  const bool distribution = is_distribution(a.subspan(0, classes));
  double sum = 0;
  for (size_t first = 0; first < a.size(); first += classes) {
    const std::vector<double> p = log_softmax(a.subspan(first, classes), distribution);
    const std::vector<double> q = log_softmax(b.subspan(first, classes), distribution);
    for (size_t i = 0; i < classes; ++i) sum += std::exp(p[i]) * (p[i] - q[i]);
  }
  return kTemperature * kTemperature * sum;
}

double relative_energy(const Tensor& reference, const Tensor& output) {
  const Tensor a = cast(reference, DType::kF32), b = cast(output, DType::kF32);
  double error = 0, energy = 0;
  for (size_t i = 0; i < a.data<float>().size(); ++i) {
    const double x = static_cast<double>(a.data<float>()[i]);
    const double d = x - static_cast<double>(b.data<float>()[i]);
    error += d * d;
    energy += x * x;
  }
  return energy > 0 ? error / energy : 0;
}

/// Sum over the images of a batch.
double loss(const Values& reference, const Values& outputs) {
  if (reference.size() == 1 && reference[0].dtype() == DType::kF32 &&
      reference[0].shape().size() == 2 && reference[0].shape()[1] >= 2)
    return kl_of_rows(reference[0], outputs[0]);
  double sum = 0;
  for (size_t i = 0; i < reference.size(); ++i) {
    if (!is_float(reference[i].dtype()) || reference[i].shape() != outputs[i].shape()) continue;
    const Shape& shape = reference[i].shape();
    sum += relative_energy(reference[i], outputs[i]) *
           static_cast<double>(shape.empty() ? 1 : shape[0]);
  }
  return sum;
}

/// Runs the graph and, from any point on, tails with other weights.
class TailRunner {
 public:
  TailRunner(const Graph& graph, const Graph& reference, const PassContext& context,
             int64_t samples)
      : graph_(graph), context_(context), last_use_(graph.value_count(), 0) {
    for (size_t i = 0; i < graph.order().size(); ++i) {
      for (ValueId input : graph.node(graph.order()[i]).inputs) {
        if (input != kNoValue) last_use_[index(input)] = i;
      }
    }
    for (ValueId output : graph.outputs()) last_use_[index(output)] = graph.order().size();
    const int64_t batch = std::min(kBatch, Dataset::max_batch(graph));
    if (samples > batch) samples -= samples % batch;
    samples_ = samples;
    const std::vector<int64_t> chosen = context.data->spread(samples);
    for (int64_t first = 0; first < samples; first += batch) {
      const auto begin = chosen.begin() + first;
      Values& values = batches_.emplace_back(graph.value_count());
      const Values inputs =
          context.data->samples(graph, {begin, begin + std::min(batch, samples - first)});
      for (size_t i = 0; i < inputs.size(); ++i) values[index(graph.inputs()[i])] = inputs[i];
    }
    references_.resize(batches_.size());
    for_batches([&](size_t b) {
      Values inputs;
      for (ValueId input : graph.inputs()) inputs.push_back(batches_[b][index(input)]);
      references_[b] = execute(reference, inputs);
    });
  }

  /// Runs the node at `position` of the order, after all before it.
  void advance(size_t position) {
    for_batches([&](size_t b) { run(batches_[b], position, {}); });
  }

  /// Mean loss when everything from `position` on runs with other weights.
  double tail(size_t position, const Overrides& overrides) {
    std::vector<double> losses(batches_.size());
    for_batches([&](size_t b) {
      losses[b] = loss(references_[b], finish(batches_[b], position, overrides));
    });
    double sum = 0;
    for (double x : losses) sum += x;
    return sum / static_cast<double>(samples_);
  }

 private:
  void for_batches(const std::function<void(size_t)>& body) {
    context_.progress.check();
    parallel_for(static_cast<int64_t>(batches_.size()), context_.threads,
                 [&](int64_t b) { body(static_cast<size_t>(b)); });
  }

  void run(Values& values, size_t position, const Overrides& overrides) const {
    const Node& node = graph_.node(graph_.order()[position]);
    std::vector<const Tensor*> operands;
    for (ValueId input : node.inputs) {
      const Tensor* constant = graph_.constant(input);
      const auto other = constant ? overrides.find(input) : overrides.end();
      operands.push_back(input == kNoValue          ? nullptr
                         : other != overrides.end() ? &other->second
                         : constant                 ? constant
                                                    : &values[index(input)]);
    }
    Values results =
        with_context([&] { return describe(node); }, [&] { return evaluate(node, operands); });
    for (size_t i = 0; i < node.outputs.size() && i < results.size(); ++i) {
      if (node.outputs[i] != kNoValue) values[index(node.outputs[i])] = std::move(results[i]);
    }
    for (ValueId input : node.inputs) {
      if (input != kNoValue && last_use_[index(input)] == position) values[index(input)] = Tensor();
    }
  }

  /// The outputs, from the values alive before `position`.
  Values finish(Values values, size_t position, const Overrides& overrides) const {
    for (size_t i = position; i < graph_.order().size(); ++i) run(values, i, overrides);
    Values outputs;
    for (ValueId output : graph_.outputs()) {
      const Tensor* constant = graph_.constant(output);
      outputs.push_back(constant ? *constant : values[index(output)]);
    }
    return outputs;
  }

  const Graph& graph_;
  const PassContext& context_;
  std::vector<size_t> last_use_;
  int64_t samples_ = 0;
  std::vector<Values> batches_, references_;
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

}  // namespace

double sensitivity_work(const Graph& graph, const std::vector<NodeId>& consumers, size_t counts) {
  const std::vector<double> work = tail_work(graph);
  for (size_t i = 0; i < graph.order().size(); ++i) {
    if (std::ranges::find(consumers, graph.order()[i]) != consumers.end())
      return work[i] * static_cast<double>(counts);
  }
  return 0;
}

std::vector<std::vector<double>> measure_sensitivities(const Graph& graph, const Graph& reference,
                                                       const std::vector<const Curve*>& curves,
                                                       int64_t samples, const PassContext& context,
                                                       const SensitivitySharing& sharing) {
  const std::vector<double> work = tail_work(graph);
  double here = 1;  // MACs a sample, of all tails.
  for (const Curve* curve : curves)
    here += work[curve->first_consumer] * static_cast<double>(curve->kept.size());
  const double per_sample = here + sharing.work_elsewhere;
  samples = std::min({samples, context.data->size(),
                      std::max(kFewestSamples, static_cast<int64_t>(kMostWork / per_sample))});

  TailRunner runner(graph, reference, context, samples);
  std::vector<std::vector<double>> losses(curves.size());
  double finished = 0;  // In per cent of the work, for tails get shorter and shorter.
  const auto report = [&] {
    context.progress.step("measuring sensitivities, per cent",
                          static_cast<int64_t>(100 * finished / here), 100);
  };
  report();
  for (size_t position = 0; position < graph.order().size(); ++position) {
    for (size_t c = 0; c < curves.size(); ++c) {
      if (curves[c]->first_consumer != position) continue;
      double worst = 0;
      const auto begun = std::chrono::steady_clock::now();
      for (const Overrides& overrides : curves[c]->fitted) {
        worst = std::max(worst, runner.tail(position, overrides));
        losses[c].push_back(worst);
        finished += work[position];
        report();
      }
      const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begun;
      if (sharing.done) sharing.done(c, losses[c], taken.count());
    }
    runner.advance(position);
  }
  return losses;
}

double output_loss(const Graph& reference, const Graph& graph, const std::vector<int64_t>& samples,
                   const PassContext& context) {
  const RunOptions options{.threads = context.threads,
                           .batch = kBatch,
                           .progress = context.progress,
                           .stage = "comparing outputs"};
  std::vector<double> losses(
      static_cast<size_t>(batch_count(graph, static_cast<int64_t>(samples.size()), options)));
  for_each_batch(graph, *context.data, samples, options, [&](const Batch& batch) {
    losses[static_cast<size_t>(batch.index)] =
        loss(execute(reference, batch.inputs), execute(graph, batch.inputs));
  });
  double sum = 0;
  for (double x : losses) sum += x;
  return sum / static_cast<double>(std::max<size_t>(1, samples.size()));
}

}  // namespace pare
