#include "calib/calibrate.h"

#include <mutex>
#include <optional>
#include <span>

#include "exec/engine.h"

namespace pare {
namespace {

constexpr int kLevels = 256;  // Of eight bits.

/// By value: its place in `values`, or -1.
std::vector<int64_t> places(const Graph& graph, const std::vector<ValueId>& values) {
  std::vector<int64_t> places(graph.value_count(), -1);
  for (size_t i = 0; i < values.size(); ++i) places[index(values[i])] = static_cast<int64_t>(i);
  return places;
}

/// Runs the samples; `see(batch, place, elements)` gets every float value asked for.
void watch(const Graph& graph, const Dataset& data, const std::vector<int64_t>& samples,
           const std::vector<ValueId>& values, const RunOptions& options,
           const std::function<void(int64_t, size_t, std::span<const float>)>& see) {
  const std::vector<int64_t> place = places(graph, values);
  const Engine engine(graph, values);
  for_each_batch(graph, data, samples, options, [&](const Batch& batch) {
    engine.run(batch.inputs, [&](ValueId id, const Tensor& tensor) {
      const int64_t at = place[index(id)];
      if (at < 0 || !is_float(tensor.dtype())) return;
      // Padding repeats a sample of this batch, so it changes no minimum and hardly a histogram.
      const Tensor wide = tensor.dtype() == DType::kF32 ? tensor : cast(tensor, DType::kF32);
      see(batch.index, static_cast<size_t>(at), wide.data<float>());
    });
  });
}

std::vector<MinMaxObserver> extremes(const Graph& graph, const Dataset& data,
                                     const std::vector<int64_t>& samples,
                                     const std::vector<ValueId>& values,
                                     const RunOptions& options) {
  const int64_t count = batch_count(graph, static_cast<int64_t>(samples.size()), options);
  std::vector<std::vector<MinMaxObserver>> observers(static_cast<size_t>(count),
                                                     std::vector<MinMaxObserver>(values.size()));
  watch(graph, data, samples, values, options,
        [&](int64_t batch, size_t place, std::span<const float> elements) {
          observers[static_cast<size_t>(batch)][place].observe(elements);
        });
  std::vector<MinMaxObserver> merged(values.size());
  for (const std::vector<MinMaxObserver>& part : observers) {
    for (size_t i = 0; i < merged.size(); ++i) merged[i].merge(part[i]);
  }
  return merged;
}

/// Counts are integers, so they may be added in whatever order the batches finish.
std::vector<HistogramObserver> histograms(const Graph& graph, const Dataset& data,
                                          const std::vector<int64_t>& samples,
                                          const std::vector<ValueId>& values,
                                          const std::vector<MinMaxObserver>& extremes,
                                          const RunOptions& options) {
  std::vector<HistogramObserver> merged;
  for (const MinMaxObserver& extreme : extremes) merged.emplace_back(extreme.range());
  std::mutex mutex;
  watch(graph, data, samples, values, options,
        [&](int64_t, size_t place, std::span<const float> elements) {
          HistogramObserver part(extremes[place].range());
          part.observe(elements);
          const std::lock_guard lock(mutex);
          merged[place].merge(part);
        });
  return merged;
}

}  // namespace

std::map<ValueId, Range> calibrate(const Graph& graph, const Dataset& data,
                                   const std::vector<int64_t>& samples,
                                   const std::vector<ValueId>& values,
                                   const CalibrateOptions& options) {
  const std::vector<MinMaxObserver> seen = extremes(graph, data, samples, values, options.run);
  std::vector<HistogramObserver> counted;
  if (options.method != RangeMethod::kMinMax)
    counted = histograms(graph, data, samples, values, seen, options.run);
  std::map<ValueId, Range> ranges;
  for (size_t i = 0; i < values.size(); ++i) {
    if (!seen[i].seen()) continue;
    Range range = seen[i].range();
    if (options.method == RangeMethod::kPercentile)
      range = percentile_range(counted[i], options.percentile / 100);
    if (options.method == RangeMethod::kLeastSquares)
      range = least_squares_range(counted[i], kLevels);
    if (options.method == RangeMethod::kEntropy) range = entropy_range(counted[i], kLevels);
    ranges.emplace(values[i], range);
  }
  return ranges;
}

}  // namespace pare
