#include "calib/runner.h"

#include <algorithm>
#include <atomic>
#include <limits>
#include <thread>

#include "exec/engine.h"
#include "exec/plan.h"
#include "support/parallel.h"
#include "support/text_table.h"

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

/// The batch that `total` samples divide into evenly, where one not much smaller than `batch` does:
/// each size of a batch is a plan of its own.
int64_t even_batch(int64_t total, int64_t batch) {
  int64_t even = std::max<int64_t>(1, std::min(batch, total));
  while (total % even != 0) --even;
  return 2 * even >= batch ? even : batch;
}

/// The graph for those who look at its interface only.
Graph without_weights(Graph graph) {
  for (uint32_t i = 0; i < graph.value_count(); ++i) {
    if (graph.value(ValueId{i}).constant) graph.forget_elements(ValueId{i});
  }
  return graph;
}

/// Bytes a thread needs for a batch, beside weights.
int64_t bytes_of_batch(const Graph& graph, const Dataset& data, const std::vector<int64_t>& samples,
                       const Split& cut) {
  std::vector<int64_t> chosen(samples.begin(),
                              samples.begin() + std::min(cut.step, std::ssize(samples)));
  if (cut.padded) chosen.resize(static_cast<size_t>(cut.step), chosen.back());
  std::vector<Shape> shapes;
  size_t bytes = 0;
  for (const Tensor& input : data.samples(graph, chosen)) {
    shapes.push_back(input.shape());
    bytes += input.bytes().size();
  }
  return static_cast<int64_t>(
      bytes + Plan::activation_bytes_of(graph, {.input_shapes = std::move(shapes)}));
}

/// The options within RunOptions::max_memory.
RunOptions bounded(const Graph& graph, const Dataset& data, const std::vector<int64_t>& samples,
                   RunOptions options) {
  while (options.max_memory > 0) {
    const Split cut = split(graph, options);
    const int64_t bytes = bytes_of_batch(graph, data, samples, cut);
    const int64_t threads = options.max_memory / bytes;
    if (threads >= options.threads) break;
    if (cut.step > 1 && !cut.padded) {
      options.batch = cut.step / 2;
      continue;
    }
    if (threads < 1)
      throw Error(ErrorKind::kUsage, "max-memory: a run of " + std::to_string(cut.step) +
                                         (cut.step == 1 ? " sample needs " : " samples need ") +
                                         human_bytes(static_cast<uint64_t>(bytes)) +
                                         " for activations, more than " +
                                         human_bytes(static_cast<uint64_t>(options.max_memory)));
    options.threads = static_cast<int>(threads);
    break;
  }
  return options;
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

std::vector<Tensor> run_outputs(Graph graph, const Dataset& data,
                                const std::vector<int64_t>& samples, const RunOptions& options) {
  PARE_CHECK(!samples.empty(), "run_outputs without samples");
  const auto total = static_cast<int64_t>(samples.size());
  RunOptions run = bounded(graph, data, samples, options);
  run.batch = even_batch(total, run.batch);
  const int64_t count = batch_count(graph, total, run);
  std::vector<std::vector<Tensor>> parts(graph.outputs().size());
  for (std::vector<Tensor>& part : parts) part.resize(static_cast<size_t>(count));
  const Split cut = split(graph, run);
  const bool one_size = cut.padded || total % cut.step == 0 || total < cut.step;
  const Graph interface = without_weights(graph);
  using Weights = EngineOptions::Weights;
  const Engine engine(std::move(graph),
                      {.weights = one_size ? Weights::kReleased : Weights::kKept});
  for_each_batch(interface, data, samples, run, [&](const Batch& batch) {
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
    joined.push_back(join(parts[i], interface.value(interface.outputs()[i]).name));
  return joined;
}

}  // namespace pare
