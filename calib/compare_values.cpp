#include "calib/compare_values.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <utility>

#include "exec/engine.h"

namespace pare {
namespace {

struct Sums {
  double signal = 0, noise = 0, other = 0, product = 0, largest = 0;
  int64_t elements = 0;
  DistributionObserver before, after;

  void add(std::span<const float> a, std::span<const float> b) {
    for (size_t i = 0; i < a.size(); ++i) {
      const auto x = static_cast<double>(a[i]), y = static_cast<double>(b[i]);
      signal += x * x;
      noise += (x - y) * (x - y);
      other += y * y;
      product += x * y;
      largest = std::max(largest, std::abs(x - y));
    }
    elements += static_cast<int64_t>(a.size());
    before.observe(a);
    after.observe(b);
  }

  void merge(const Sums& part) {
    signal += part.signal;
    noise += part.noise;
    other += part.other;
    product += part.product;
    largest = std::max(largest, part.largest);
    elements += part.elements;
    before.merge(part.before);
    after.merge(part.after);
  }

  ValueComparison result() const {
    ValueComparison result{.elements = elements, .max_abs_error = largest};
    result.sqnr_db =
        noise > 0 ? 10 * std::log10(signal / noise) : std::numeric_limits<double>::infinity();
    if (signal > 0 && other > 0) result.cosine = product / std::sqrt(signal * other);
    result.before = before.distribution();
    result.after = after.distribution();
    return result;
  }
};

/// In memory of its own: the engine's is good until the hook returns.
Tensor copied(const Tensor& tensor, const Survivors& survivors) {
  Tensor copy = cast(tensor, DType::kF32);
  for (const auto& [axis, kept] : survivors) copy = gather(copy, axis, kept);
  (void)copy.mutable_bytes();
  return copy;
}

}  // namespace

ValueComparison compare_numbers(std::span<const float> before, std::span<const float> after) {
  Sums sums;
  sums.add(before, after);
  return sums.result();
}

std::vector<ValueComparison> compare_values(const Graph& before, const Graph& after,
                                            const std::vector<ValuePair>& pairs,
                                            const Dataset& data,
                                            const std::vector<int64_t>& samples,
                                            const RunOptions& options) {
  std::multimap<ValueId, size_t> firsts, seconds;
  std::vector<ValueId> observed_before, observed_after;
  for (size_t i = 0; i < pairs.size(); ++i) {
    firsts.emplace(pairs[i].before, i);
    seconds.emplace(pairs[i].after, i);
    observed_before.push_back(pairs[i].before);
    observed_after.push_back(pairs[i].after);
  }
  const Engine first(before, {.observed = observed_before});
  const Engine second(after, {.observed = observed_after});
  const int64_t batches = batch_count(before, static_cast<int64_t>(samples.size()), options);
  std::vector<std::vector<Sums>> sums(static_cast<size_t>(batches));
  for_each_batch(before, data, samples, options, [&](const Batch& batch) {
    std::vector<std::optional<Tensor>> seen(pairs.size());
    first.run(batch.inputs, [&](ValueId id, const Tensor& tensor) {
      for (auto [at, end] = firsts.equal_range(id); at != end; ++at)
        if (is_float(tensor.dtype())) seen[at->second] = copied(tensor, pairs[at->second].left);
    });
    std::vector<Sums>& mine = sums[static_cast<size_t>(batch.index)];
    mine.resize(pairs.size());
    second.run(batch.inputs, [&](ValueId id, const Tensor& tensor) {
      for (auto [at, end] = seconds.equal_range(id); at != end; ++at) {
        std::optional<Tensor>& original = seen[at->second];
        if (!is_float(tensor.dtype()) || !original || original->shape() != tensor.shape()) continue;
        const Tensor wide = cast(tensor, DType::kF32);
        mine[at->second].add(std::as_const(*original).data<float>(), wide.data<float>());
        original.reset();
      }
    });
  });
  std::vector<ValueComparison> results;
  for (size_t i = 0; i < pairs.size(); ++i) {
    Sums total;
    for (const std::vector<Sums>& part : sums) total.merge(part[i]);
    results.push_back(total.result());
  }
  return results;
}

}  // namespace pare
