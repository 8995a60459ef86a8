#include "passes/width_budget.h"

#include <algorithm>

#include "cost/cost.h"
#include "passes/knapsack.h"
#include "passes/prune_channels_budget.h"
#include "support/error.h"
#include "support/text_table.h"

namespace pare {
namespace {

using Counted = WidthBudget::Measure;

constexpr size_t kBins = 4000;
/// Halvings of the knapsack's budget.
constexpr int kHalvings = 20;

std::string_view unit_of(Counted measure) {
  return measure == Counted::kBytes ? "B" : measure == Counted::kJoules ? "J" : "W";
}

std::string example_of(Counted measure) {
  return measure == Counted::kBytes ? "1.2M" : measure == Counted::kJoules ? "0.2mJ" : "3W";
}

/// Takes "mJ" off "0.2mJ"; returns 1e-3. Prefixes above one stay.
double take_unit(std::string& text, std::string_view unit) {
  if (!text.ends_with(unit)) return 1;
  text.resize(text.size() - unit.size());
  constexpr std::pair<char, double> kSmall[] = {{'m', 1e-3}, {'u', 1e-6}, {'n', 1e-9}};
  for (const auto& [prefix, factor] : kSmall) {
    if (!text.ends_with(prefix)) continue;
    text.pop_back();
    return factor;
  }
  return 1;
}

/// The integers of a layer's weights, in a network of QDQ form.
ValueId integers_of(const Graph& graph, NodeId id) {
  return graph.node(*graph.value(graph.node(id).inputs[1]).producer).inputs[0];
}

}  // namespace

WidthBudget WidthBudget::parse(Counted measure, const std::string& text) {
  std::string number = text;
  const double factor = take_unit(number, unit_of(measure));
  try {
    const Budget budget = Budget::parse({}, number);
    if (!budget.relative || number == text)
      return {measure, budget.relative ? budget.amount : factor * budget.amount, budget.relative};
  } catch (const Error&) {  // Said below in terms of this budget.
  }
  throw Error(ErrorKind::kUsage, "'" + text +
                                     "' is no budget, which is a share to remove such as -60% or "
                                     "an amount to keep such as " +
                                     example_of(measure));
}

std::string quantity(Counted measure, double amount) {
  if (measure == Counted::kAverageBits) return si(amount, "bits a weight");
  return si(amount, unit_of(measure));
}

WidthCosts::WidthCosts(Counted measure, std::vector<int> bits, std::vector<Graph> at,
                       std::vector<Layer> layers, const PassContext& context)
    : measure_(measure),
      bits_(std::move(bits)),
      at_(std::move(at)),
      layers_(std::move(layers)),
      context_(context) {}

double WidthCosts::of(const std::vector<size_t>& widths) const {
  if (measure_ != Counted::kAverageBits) return of(mix(widths));
  double sum = 0, weights = 0;
  for (size_t i = 0; i < layers_.size(); ++i) {
    sum += layers_[i].weights * bits_[widths[i]];
    weights += layers_[i].weights;
  }
  return weights > 0 ? sum / weights : bits_[0];
}

double WidthCosts::of(const Graph& graph) const {
  if (measure_ == Counted::kAverageBits) return bits_[0];
  const CostTotals totals = estimate_cost(graph, context_.cost).totals;
  if (measure_ == Counted::kBytes) return static_cast<double>(totals.weight_bytes);
  return measure_ == Counted::kJoules ? totals.joules() : totals.watts(context_.rate);
}

Graph WidthCosts::mix(const std::vector<size_t>& widths) const {
  Graph graph = at_[0];
  for (size_t i = 0; i < layers_.size(); ++i) {
    const NodeId id = layers_[i].node;
    const Graph& from = at_[widths[i]];
    graph.set_constant(integers_of(graph, id), *from.constant(integers_of(from, id)));
  }
  return graph;
}

std::vector<size_t> WidthCosts::choose(const std::vector<std::vector<double>>& losses,
                                       double target) const {
  std::vector<size_t> widest(layers_.size(), 0);
  if (of(widest) <= target) return widest;
  std::vector<KnapsackItem> items;
  double most = 0;
  for (size_t i = 0; i < layers_.size(); ++i) {
    KnapsackItem item{.loss = losses[i], .cost = {}};
    // A narrower width is not believed to be better.
    for (size_t b = 1; b < item.loss.size(); ++b)
      item.loss[b] = std::max(item.loss[b], item.loss[b - 1]);
    for (size_t b = 0; b < bits_.size(); ++b) {
      std::vector<size_t> widths = widest;
      widths[i] = b;
      item.cost.push_back(of(widths));
    }
    const double least = std::ranges::min(item.cost);
    for (double& cost : item.cost) cost -= least;
    most += item.cost[0];
    items.push_back(std::move(item));
  }
  std::vector<size_t> best(layers_.size(), bits_.size() - 1);  // The narrowest.
  double low = 0, high = most;
  for (int i = 0; i < kHalvings; ++i) {
    const double middle = (low + high) / 2;
    std::vector<size_t> widths = solve_knapsack(items, middle, kBins);
    if (of(widths) <= target) {
      best = std::move(widths);
      low = middle;
    } else {
      high = middle;
    }
  }
  return best;
}

}  // namespace pare
