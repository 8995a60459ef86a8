#include "passes/error_metric.h"

#include <algorithm>

#include "calib/gram.h"
#include "cost/cost.h"
#include "exec/engine.h"
#include "passes/adjoint.h"
#include "passes/held_out.h"
#include "passes/output_loss.h"
#include "support/memory.h"
#include "support/parallel.h"

namespace pare {
namespace {

constexpr int64_t kBatch = 8;
/// Places of an image that W is taken from.
constexpr int64_t kPlaces = 64;
/// Work it may take in all [MACs], and the fewest samples.
constexpr double kMostWork = 6e11;
constexpr int64_t kFewestSamples = 32;
/// Activations and gradients may take one in so many bytes of the memory.
constexpr int64_t kMemoryShare = 4;
/// Wider results have too large a W.
constexpr int64_t kWidest = 2048;
/// Of W, in means of its diagonal.
constexpr double kDamping = 0.1;

/// By node: the sum over images of the mean of g g^T over the places looked at.
using Sums = std::vector<Matrix>;

void add(const Sums& part, Sums& sums) {
  for (size_t n = 0; n < part.size(); ++n) {
    for (size_t i = 0; i < part[n].data.size(); ++i) sums[n].data[i] += part[n].data[i];
  }
}

class MetricFinder {
 public:
  MetricFinder(const Graph& graph, const PassContext& context)
      : graph_(judged(graph)),
        context_(context),
        forward_(graph_),
        gradients_(gradients(graph_, results(graph_))),
        back_(gradients_.graph) {
    for (ValueId value : gradients_.values)
      views_.push_back(*PatchView::of(graph_, *graph_.value(value).producer));
  }

  ErrorMetrics run(const std::vector<int64_t>& samples, int64_t max_memory) const {
    ErrorMetrics result;
    if (views_.empty()) return result;
    // What one thread's batch takes decides its size, so that sums are the same with any number.
    const int64_t room = max_memory / kMemoryShare / bytes_per_sample();
    int64_t batch = std::min(kBatch, Dataset::max_batch(graph_));
    if (batch == kBatch) batch = std::clamp<int64_t>(room, 1, kBatch);
    const auto threads = std::clamp<int64_t>(room / batch, 1, context_.threads);
    const std::vector<int64_t> chosen = spread(samples, most_samples());
    Sums sums;
    const int64_t batches = std::ssize(chosen) / batch;
    for (int64_t first = 0; first < batches; first += threads) {
      context_.progress.step("weighing errors", first, batches);
      std::vector<Sums> wave(static_cast<size_t>(std::min(threads, batches - first)));
      parallel_for(std::ssize(wave), static_cast<int>(threads), [&](int64_t i) {
        const auto begin = chosen.begin() + (first + i) * batch;
        wave[static_cast<size_t>(i)] =
            sums_of(context_.data->samples(graph_, {begin, begin + batch}), (first + i) * batch);
      });
      for (Sums& part : wave) {  // In their order, however many threads there are.
        if (sums.empty()) {
          sums = std::move(part);
        } else {
          add(part, sums);
        }
      }
    }
    for (size_t n = 0; n < sums.size(); ++n) {
      const WeightedNode& node = views_[n].weighted();
      for (double& x : sums[n].data) x *= places(node) / (2 * static_cast<double>(batches * batch));
      result.emplace(node.node, ErrorMetric{.weights = std::move(sums[n])});
    }
    return result;
  }

 private:
  static std::vector<ValueId> results(const Graph& graph) {
    std::vector<ValueId> values;
    for (NodeId id : graph.order()) {
      if (!weighted_node(graph, id)) continue;
      const std::optional<PatchView> view = PatchView::of(graph, id);
      if (view && view->groups() * view->outputs() <= kWidest)
        values.push_back(view->weighted().output.value);
    }
    return values;
  }

  /// Activations and gradients, all held at once.
  int64_t bytes_per_sample() const {
    int64_t bytes = 1;
    for (NodeId id : gradients_.graph.order()) {
      for (ValueId value : gradients_.graph.node(id).outputs) {
        if (value == kNoValue || !gradients_.graph.type(value).known()) continue;
        const Shape& shape = gradients_.graph.shape(value);
        bytes += 4 * element_count(shape) / std::max<int64_t>(1, shape.empty() ? 1 : shape[0]);
      }
    }
    return bytes;
  }

  /// As many samples as the work allows.
  int64_t most_samples() const {
    const double work = 3 * static_cast<double>(estimate_cost(graph_, {}).totals.macs);
    return std::max(kFewestSamples, static_cast<int64_t>(kMostWork / std::max(1.0, work)));
  }

  /// Of an image's result.
  double places(const WeightedNode& node) const {
    const Shape& shape = graph_.shape(node.output.value);
    return static_cast<double>(element_count(shape)) /
           static_cast<double>(shape[0] * shape[static_cast<size_t>(node.output.axis)]);
  }

  Sums sums_of(std::vector<Tensor> inputs, int64_t first) const {
    const int64_t images = inputs[0].shape()[0];
    for (Tensor& v : curvature_probe(forward_.run(inputs), static_cast<uint64_t>(first)))
      inputs.push_back(std::move(v));
    const std::vector<Tensor> gradient = back_.run(inputs);
    Sums result;
    for (size_t n = 0; n < views_.size(); ++n) {
      const PatchView& view = views_[n];
      const int64_t channels = view.groups() * view.outputs();
      const Positions at = view.positions(gradient[n].shape(), images, first, kPlaces);
      SampleRows rows{.rows = at.size()};
      view.read_outputs(gradient[n], at, rows.patches);
      rows.targets.assign(static_cast<size_t>(rows.rows), 0.0f);
      const Gram gram = gather_gram({.inputs = channels, .outputs = 1, .chunks = 1}, 1,
                                    [&](int64_t, SampleRows& r) { r = std::move(rows); });
      Matrix& sum = result.emplace_back(channels, channels);  // Without the constant's row.
      for (int64_t i = 0; i < channels; ++i) std::copy_n(gram.h[0].row(i), channels, sum.row(i));
      for (double& x : sum.data) x *= static_cast<double>(images);
    }
    return result;
  }

  Graph graph_;
  const PassContext& context_;
  Engine forward_;
  Gradients gradients_;
  Engine back_;
  std::vector<PatchView> views_;  ///< By output of back_.
};

}  // namespace

Matrix ErrorMetric::of(std::span<const int64_t> channels) const {
  const auto size = static_cast<int64_t>(channels.size());
  Matrix part(size, size);
  double trace = 0;
  for (int64_t i = 0; i < size; ++i) {
    const double* row = weights.row(channels[static_cast<size_t>(i)]);
    for (int64_t j = 0; j < size; ++j) part.row(i)[j] = row[channels[static_cast<size_t>(j)]];
    trace += part.row(i)[i];
  }
  const double damping = trace > 0 ? kDamping * trace / static_cast<double>(size) : 1;
  for (int64_t i = 0; i < size; ++i) part.row(i)[i] += damping;
  return part;
}

ErrorMetrics measure_error_metrics(const Graph& graph, const std::vector<int64_t>& samples,
                                   int64_t max_memory, const PassContext& context) {
  ErrorMetrics metrics = MetricFinder(graph, context).run(samples, max_memory);
  return_free_memory();
  return metrics;
}

}  // namespace pare
