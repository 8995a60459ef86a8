#include "calib/runner.h"

#include <algorithm>
#include <atomic>
#include <limits>
#include <thread>

#include "exec/engine.h"
#include "support/parallel.h"

namespace pare {
namespace {

constexpr int64_t kNoLimit = std::numeric_limits<int64_t>::max();  // Dataset::max_batch()'s.

/// Samples a batch counts, and how many it holds with padding.
struct Split {
  int64_t step = 1;
  bool padded = false;  ///< The model takes full batches only.
};

Split split(const Graph& graph, const RunOptions& options) {
  const int64_t limit = Dataset::max_batch(graph);
  if (limit == kNoLimit) return {std::max<int64_t>(options.batch, 1), false};
  return {limit, true};
}

/// The first `count` slices of axis 0, where there are more.
Tensor head(const Tensor& tensor, int64_t count) {
  if (tensor.shape().empty() || tensor.shape()[0] <= count) return tensor;
  std::vector<int64_t> keep(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) keep[static_cast<size_t>(i)] = i;
  return gather(tensor, 0, keep);
}

/// Joins along axis 0; a scalar counts as one slice.
Tensor join(const std::vector<Tensor>& parts, const std::string& name) {
  Shape shape = parts[0].shape();
  if (shape.empty()) shape = {1};
  int64_t rows = 0;
  for (const Tensor& part : parts) {
    Shape other = part.shape();
    if (other.empty()) other = {1};
    rows += other[0];
    const bool same = other.size() == shape.size() &&
                      std::equal(other.begin() + 1, other.end(), shape.begin() + 1) &&
                      part.dtype() == parts[0].dtype();
    if (!same)
      throw Error(ErrorKind::kUnsupported, "output '" + name + "' is " +
                                               to_string(parts[0].type()) +
                                               " for some samples and " + to_string(part.type()) +
                                               " for others, expected the same shape for all");
  }
  shape[0] = rows;
  if (parts[0].dtype() == DType::kString) {
    std::vector<std::string> strings;
    for (const Tensor& part : parts)
      strings.insert(strings.end(), part.strings().begin(), part.strings().end());
    return Tensor::of_strings(std::move(shape), std::move(strings));
  }
  Tensor joined = Tensor::uninitialized(parts[0].dtype(), std::move(shape));
  auto target = joined.mutable_bytes().begin();
  for (const Tensor& part : parts) target = std::ranges::copy(part.bytes(), target).out;
  return joined;
}

}  // namespace

int64_t batch_count(const Graph& graph, int64_t samples, const RunOptions& options) {
  const int64_t step = split(graph, options).step;
  return samples / step + (samples % step != 0);
}

void for_each_batch(const Graph& graph, const Dataset& data, const std::vector<int64_t>& samples,
                    const RunOptions& options, const std::function<void(const Batch&)>& body) {
  const Split cut = split(graph, options);
  const auto total = static_cast<int64_t>(samples.size());
  const int64_t count = batch_count(graph, total, options);
  const std::thread::id starter = std::this_thread::get_id();
  std::atomic<int64_t> done{0};
  options.progress.step(options.stage, 0, total);
  parallel_for(count, options.threads, [&](int64_t i) {
    options.progress.check();
    const int64_t first = i * cut.step, last = std::min(first + cut.step, total);
    std::vector<int64_t> chosen(samples.begin() + first, samples.begin() + last);
    if (cut.padded) chosen.resize(static_cast<size_t>(cut.step), chosen.back());
    body({.index = i, .inputs = data.samples(graph, chosen), .samples = last - first});
    const int64_t finished = done += last - first;
    if (std::this_thread::get_id() == starter)
      options.progress.step(options.stage, finished, total);
  });
  options.progress.step(options.stage, total, total);
}

std::vector<Tensor> run_outputs(const Graph& graph, const Dataset& data,
                                const std::vector<int64_t>& samples, const RunOptions& options) {
  PARE_CHECK(!samples.empty(), "run_outputs without samples");
  const int64_t count = batch_count(graph, static_cast<int64_t>(samples.size()), options);
  std::vector<std::vector<Tensor>> parts(graph.outputs().size());
  for (std::vector<Tensor>& part : parts) part.resize(static_cast<size_t>(count));
  const Engine engine(graph);
  for_each_batch(graph, data, samples, options, [&](const Batch& batch) {
    std::vector<Tensor> outputs = engine.run(batch.inputs);
    for (size_t i = 0; i < outputs.size(); ++i) {
      const int64_t held = batch.inputs.empty() ? 0 : batch.inputs[0].shape()[0];
      const bool by_sample = !outputs[i].shape().empty() && outputs[i].shape()[0] == held;
      parts[i][static_cast<size_t>(batch.index)] =
          by_sample ? head(outputs[i], batch.samples) : outputs[i];
    }
  });
  std::vector<Tensor> joined;
  for (size_t i = 0; i < parts.size(); ++i)
    joined.push_back(join(parts[i], graph.value(graph.outputs()[i]).name));
  return joined;
}

}  // namespace pare
