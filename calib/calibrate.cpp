#include "calib/calibrate.h"

#include <mutex>
#include <optional>
#include <span>

#include "calib/power_histogram.h"
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

/// Runs the samples; `see(place, elements)` gets every float value asked for, its elements in
/// whatever order they are in.
void watch(const Graph& graph, const Dataset& data, const std::vector<int64_t>& samples,
           const std::vector<ValueId>& values, const RunOptions& options,
           const std::function<void(size_t, std::span<const float>)>& see) {
  const std::vector<int64_t> place = places(graph, values);
  const Engine engine(graph, {.observed = values, .order = ElementOrder::kAny});
  for_each_batch(graph, data, samples, options, [&](const Batch& batch) {
    engine.run(batch.inputs, [&](ValueId id, const Tensor& tensor) {
      const int64_t at = place[index(id)];
      if (at < 0 || !is_float(tensor.dtype())) return;
      // Padding repeats a sample of this batch, so it changes no minimum and hardly a histogram.
      const Tensor wide = tensor.dtype() == DType::kF32 ? tensor : cast(tensor, DType::kF32);
      see(static_cast<size_t>(at), wide.data<float>());
    });
  });
}

/// What one pass over the samples finds out about a value.
struct Statistics {
  MinMaxObserver extremes;
  PowerHistogram counts;
};

/// Minima and counts may be merged in whatever order the batches finish.
std::vector<Statistics> gather(const Graph& graph, const Dataset& data,
                               const std::vector<int64_t>& samples,
                               const std::vector<ValueId>& values, bool counted,
                               const RunOptions& options) {
  std::vector<Statistics> merged(values.size());
  std::mutex mutex;
  watch(graph, data, samples, values, options, [&](size_t place, std::span<const float> elements) {
    Statistics part;
    if (counted)
      part.counts.observe(elements, part.extremes);
    else
      part.extremes.observe(elements);
    const std::lock_guard lock(mutex);
    merged[place].extremes.merge(part.extremes);
    merged[place].counts.merge(part.counts);
  });
  return merged;
}

Range range_of(const Statistics& seen, const CalibrateOptions& options) {
  const Range range = seen.extremes.range();
  switch (options.method) {
    case RangeMethod::kMinMax:
      return range;
    case RangeMethod::kPercentile:
      return percentile_range(seen.counts.over(range), options.percentile / 100);
    case RangeMethod::kLeastSquares:
      return least_squares_range(seen.counts.over(range), kLevels);
    case RangeMethod::kEntropy:
      return entropy_range(seen.counts.over(range), kLevels);
  }
  return range;
}

}  // namespace

std::map<ValueId, Range> calibrate(const Graph& graph, const Dataset& data,
                                   const std::vector<int64_t>& samples,
                                   const std::vector<ValueId>& values,
                                   const CalibrateOptions& options) {
  const std::vector<Statistics> seen =
      gather(graph, data, samples, values, options.method != RangeMethod::kMinMax, options.run);
  std::map<ValueId, Range> ranges;
  for (size_t i = 0; i < values.size(); ++i) {
    if (!seen[i].extremes.seen()) continue;
    ranges.emplace(values[i], range_of(seen[i], options));
  }
  return ranges;
}

}  // namespace pare
