#include "passes/prune_channels_score.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

namespace pare {
namespace {

/// Sum of |w|^order over each slice of `axis`.
std::vector<double> slice_powers(const Tensor& weight, int axis, int order) {
  const Tensor wide = cast(weight, DType::kF32);
  const Shape& shape = weight.shape();
  std::vector<double> sums(static_cast<size_t>(shape[static_cast<size_t>(axis)]));
  size_t inner = 1;
  for (size_t i = static_cast<size_t>(axis) + 1; i < shape.size(); ++i)
    inner *= static_cast<size_t>(shape[i]);
  size_t i = 0;
  for (float w : wide.data<float>()) {
    const double x = std::abs(static_cast<double>(w));
    sums[i++ / inner % sums.size()] += order == 1 ? x : x * x;
  }
  return sums;
}

/// The constant behind a weight operand: itself, or what is dequantized into it.
const Tensor* weight_constant(const Graph& graph, ValueId weight) {
  if (const Tensor* constant = graph.constant(weight)) return constant;
  return graph.constant(graph.node(*graph.value(weight).producer).inputs[0]);
}

}  // namespace

RankedFamily rank_by_magnitude(const Graph& graph, const ChannelSlots& slots, const Family& family,
                               int norm_order) {
  std::map<uint32_t, double> score, parts;
  for (const WeightedNode& producer : family.producers) {
    const Tensor* weight = weight_constant(graph, producer.weight_output.value);
    std::vector<double> norms = slice_powers(*weight, producer.weight_output.axis, norm_order);
    double mean = 0;
    for (double& norm : norms) {
      if (norm_order == 2) norm = std::sqrt(norm);
      mean += norm / static_cast<double>(norms.size());
    }
    for (size_t i = 0; i < norms.size(); ++i) {
      const uint32_t group = slots.group_of(producer.weight_output, static_cast<int64_t>(i));
      score[group] += mean > 0 ? norms[i] / mean : 1;
      parts[group] += 1;
    }
  }
  std::vector<std::pair<double, uint32_t>> ranking;
  for (uint32_t group : family.groups)
    ranking.emplace_back(parts[group] > 0 ? score[group] / parts[group] : 1, group);
  // Groups that tie go in the order of their channels: the family's own.
  std::ranges::stable_sort(ranking, {}, &std::pair<double, uint32_t>::first);

  RankedFamily ranked{.family = &family};
  for (const auto& [value, group] : ranking) {
    ranked.order.push_back(group);
    ranked.score.push_back(value);
  }
  return ranked;
}

}  // namespace pare
