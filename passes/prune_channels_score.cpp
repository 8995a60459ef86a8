#include "passes/prune_channels_score.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <span>

namespace pare {
namespace {

/// The slices of a weight along an axis as rows: [extent, elements of a slice].
std::vector<std::vector<float>> slices(const Tensor& weight, int axis) {
  const Tensor wide = cast(weight, DType::kF32);
  const Shape& shape = weight.shape();
  std::vector<std::vector<float>> rows(static_cast<size_t>(shape[static_cast<size_t>(axis)]));
  size_t inner = 1;
  for (size_t i = static_cast<size_t>(axis) + 1; i < shape.size(); ++i)
    inner *= static_cast<size_t>(shape[i]);
  size_t i = 0;
  for (float w : wide.data<float>()) rows[i++ / inner % rows.size()].push_back(w);
  return rows;
}

double distance(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double d = static_cast<double>(a[i]) - static_cast<double>(b[i]);
    sum += d * d;
  }
  return std::sqrt(sum);
}

std::vector<double> scores_of(const Tensor& weight, int axis, WeightScore kind) {
  const std::vector<std::vector<float>> rows = slices(weight, axis);
  std::vector<double> scores;
  for (const std::vector<float>& row : rows) {
    double score = 0;
    if (kind == WeightScore::kGeometricMedian) {
      for (const std::vector<float>& other : rows) score += distance(row, other);
    } else {
      for (float w : row) {
        const double x = std::abs(static_cast<double>(w));
        score += kind == WeightScore::kL1 ? x : x * x;
      }
      if (kind == WeightScore::kL2) score = std::sqrt(score);
    }
    scores.push_back(score);
  }
  return scores;
}

/// A number in (0, 2) that depends on nothing but the seed and the group.
double lot(uint64_t seed, uint32_t group) {  // SplitMix64.
  uint64_t x = seed + 0x9e3779b97f4a7c15ull * (uint64_t{group} + 1);
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return static_cast<double>((x ^ (x >> 31)) >> 11) * 0x1p-52;
}

/// The constant behind a weight operand: itself, or what is dequantized into it.
const Tensor* weight_constant(const Graph& graph, ValueId weight) {
  if (const Tensor* constant = graph.constant(weight)) return constant;
  return graph.constant(graph.node(*graph.value(weight).producer).inputs[0]);
}

}  // namespace

RankedFamily rank_by_weights(const Graph& graph, const ChannelSlots& slots, const Family& family,
                             WeightScore kind, uint64_t seed) {
  std::map<uint32_t, double> score, parts;
  for (const WeightedNode& producer : family.producers) {
    if (kind == WeightScore::kRandom) break;
    const Tensor* weight = weight_constant(graph, producer.weight_output.value);
    const std::vector<double> sizes = scores_of(*weight, producer.weight_output.axis, kind);
    const double mean =
        std::accumulate(sizes.begin(), sizes.end(), 0.0) / static_cast<double>(sizes.size());
    for (size_t i = 0; i < sizes.size(); ++i) {
      const uint32_t group = slots.group_of(producer.weight_output, static_cast<int64_t>(i));
      score[group] += mean > 0 ? sizes[i] / mean : 1;
      parts[group] += 1;
    }
  }
  std::vector<std::pair<double, uint32_t>> ranking;
  for (uint32_t group : family.groups) {
    const double without_weights = kind == WeightScore::kRandom ? lot(seed, group) : 1;
    ranking.emplace_back(parts[group] > 0 ? score[group] / parts[group] : without_weights, group);
  }
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
