#include "passes/prune_channels_search.h"

#include <algorithm>

#include "calib/runner.h"

namespace pare {
namespace {

constexpr double kResolution = 0.01;
constexpr int64_t kMostHeldOut = 512;

/// compare_outputs() takes the agreement from such an output.
bool has_classes(const Graph& graph) {
  return std::ranges::any_of(graph.outputs(), [&](ValueId output) {
    const TensorType& type = graph.type(output);
    return type.known() && is_float(type.dtype) && !type.shape.empty() && type.shape.back() >= 2;
  });
}

/// Samples that are not among the `fitted` ones spread over the data.
std::vector<int64_t> held_out(const Dataset& data, int64_t fitted) {
  std::vector<int64_t> rest;
  const std::vector<int64_t> used = data.spread(fitted);
  for (int64_t i = 0; i < data.size(); ++i) {
    if (!std::ranges::binary_search(used, i)) rest.push_back(i);
  }
  const auto count = static_cast<int64_t>(rest.size()), most = std::min(count, kMostHeldOut);
  std::vector<int64_t> chosen;
  for (int64_t i = 0; i < most; ++i) chosen.push_back(rest[static_cast<size_t>(i * count / most)]);
  return chosen;
}

}  // namespace

std::optional<PrunedNetwork> search_largest_cut(
    const Graph& original, const DropSearch& search, const PassContext& context,
    const std::function<PrunedNetwork(double share, const PassContext&)>& prune) {
  if (!has_classes(original))
    throw Error(ErrorKind::kUnsupported,
                "max-drop compares best classes, but no output has any: expected a float output "
                "with a last axis of two or more");
  const std::vector<int64_t> samples = held_out(*context.data, search.fitted);
  if (samples.empty())
    throw Error(ErrorKind::kUnsupported, "max-drop needs at least two samples, one to hold out");
  if (search.max_drop * static_cast<double>(samples.size()) < 1)
    context.warning("max-drop allows less than one of the " + std::to_string(samples.size()) +
                    " held-out samples to change; more samples make it finer");
  const RunOptions run{.threads = context.threads,
                       .batch = 8,
                       .progress = context.progress,
                       .stage = "comparing outputs"};
  const std::vector<Tensor> reference = run_outputs(original, *context.data, samples, run);

  std::optional<PrunedNetwork> best;
  int64_t tried = 0;
  const auto holds = [&](double share) {
    PassContext quiet = context;  // Only what the best network is to be warned about is said.
    std::vector<std::string> warnings;
    quiet.warn = [&](const std::string& sentence) { warnings.push_back(sentence); };
    ++tried;
    try {
      PrunedNetwork candidate = prune(share, quiet);
      const double agreement =
          compare_outputs(reference, run_outputs(candidate.graph, *context.data, samples, run))
              .agreement;
      if (1 - agreement > search.max_drop) return false;
      candidate.warnings = std::move(warnings);
      candidate.stats["held-out samples"] = static_cast<int64_t>(samples.size());
      candidate.stats["held-out agreement"] = agreement;
      best.emplace(std::move(candidate));
      return true;
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kUnsupported) throw;
      return false;
    }
  };
  double low = 0, high = search.farthest;
  if (!holds(high)) {
    while (high - low > kResolution) {
      const double middle = (low + high) / 2;
      (holds(middle) ? low : high) = middle;
    }
  }
  if (best) best->stats["budgets tried"] = tried;
  return best;
}

}  // namespace pare
