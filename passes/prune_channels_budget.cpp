#include "passes/prune_channels_budget.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>

namespace pare {
namespace {

/// Floating-point weights and biases, and 8-bit ones of a quantized model.
bool is_parameter(const Value& value) {
  if (!value.constant || value.uses.empty() || value.type.shape.empty()) return false;
  const DType dtype = value.type.dtype;
  return is_float(dtype) || (is_integer(dtype) && bit_width(dtype) <= 8);
}

/// Groups that go together so that a family keeps a legal number of channels.
struct Step {
  double ratio;  ///< Share of the family that is gone after it.
  double score;
  std::vector<uint32_t> groups;
};

void add_steps(const RankedFamily& ranked, const AllocationLimits& limits,
               std::vector<Step>& steps) {
  const std::vector<int64_t> counts = legal_counts(*ranked.family, limits);
  const int64_t count = counts[0];
  for (size_t c = 1; c < counts.size(); ++c) {
    Step step{.ratio = static_cast<double>(count - counts[c]) / static_cast<double>(count),
              .score = 0};
    for (int64_t i = count - counts[c - 1]; i < count - counts[c]; ++i) {
      step.groups.push_back(ranked.order[static_cast<size_t>(i)]);
      step.score += ranked.score[static_cast<size_t>(i)];
    }
    steps.push_back(std::move(step));
  }
}

}  // namespace

Budget Budget::parse(Measure measure, const std::string& text) {
  const auto wrong = [&] {
    return Error(ErrorKind::kUsage, "'" + text +
                                        "' is no budget, which is a share to remove such as -40% "
                                        "or an amount to keep such as 75M");
  };
  Budget budget{.measure = measure};
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, budget.amount);
  const std::string unit(rest, end);
  if (error != std::errc() || !std::isfinite(budget.amount)) throw wrong();
  if (unit == "%") {
    budget.amount /= -100;
    if (budget.amount <= 0 || budget.amount >= 1) throw wrong();
    return budget;
  }
  budget.relative = false;
  const auto scale = std::string_view("KMG").find(unit);
  if (unit.size() == 1 && scale != std::string_view::npos) {
    budget.amount *= std::pow(1e3, static_cast<double>(scale + 1));
  } else if (!unit.empty()) {
    throw wrong();
  }
  if (budget.amount <= 0) throw wrong();
  return budget;
}

double Budget::target(double before) const { return relative ? (1 - amount) * before : amount; }

SizeModel::SizeModel(const Graph& graph, const AxisMap& axes, Measure measure)
    : graph_(graph), axes_(axes), measure_(measure) {
  const auto shrinks = [&](ValueId id) { return id != kNoValue && axes_.shrinks(id); };
  for (NodeId id : graph.order()) {
    const Node& node = graph.node(id);
    if (measure != Measure::kMacs || !node.def || !node.def->macs) continue;
    if (std::ranges::any_of(node.inputs, shrinks) || std::ranges::any_of(node.outputs, shrinks)) {
      nodes_.push_back(id);
    } else {
      fixed_ += node_macs(id, {});
    }
  }
  for (uint32_t i = 0; i < graph.value_count(); ++i) {
    const Value& value = graph.value(ValueId{i});
    if (measure != Measure::kParameters || !is_parameter(value)) continue;
    if (axes_.shrinks(ValueId{i})) {
      weights_.push_back(ValueId{i});
    } else {
      fixed_ += static_cast<double>(element_count(value.type.shape));
    }
  }
}

double SizeModel::node_macs(NodeId id, const std::vector<int64_t>& losses) const {
  const Node& node = graph_.node(id);
  std::vector<Operand> operands = graph_.operands(node);
  std::vector<TensorType> outputs = graph_.output_types(node), inputs(operands.size());
  for (const Operand& operand : operands) {
    if (operand && !operand.type->known()) return 0;
  }
  for (const TensorType& output : outputs) {
    if (!output.known()) return 0;
  }
  for (size_t i = 0; !losses.empty() && i < operands.size(); ++i) {
    if (!operands[i] || !axes_.shrinks(node.inputs[i])) continue;
    inputs[i] = {operands[i].type->dtype, axes_.shape_without(node.inputs[i], losses)};
    operands[i] = {&inputs[i], nullptr};
  }
  for (size_t i = 0; !losses.empty() && i < outputs.size(); ++i) {
    if (node.outputs[i] != kNoValue)
      outputs[i].shape = axes_.shape_without(node.outputs[i], losses);
  }
  return static_cast<double>(node.def->macs(node, operands, outputs));
}

double SizeModel::without(const std::vector<bool>& doomed) const {
  double total = fixed_;
  const std::vector<int64_t> losses = axes_.losses(doomed);
  for (NodeId id : nodes_) total += node_macs(id, losses);
  for (ValueId id : weights_)
    total += static_cast<double>(element_count(axes_.shape_without(id, losses)));
  return total;
}

std::vector<std::set<size_t>> SizeModel::neighbours(const std::vector<size_t>& family_of,
                                                    size_t count) const {
  std::vector<std::set<size_t>> result(count);
  for (size_t f = 0; f < count; ++f) result[f].insert(f);
  const auto join = [&](const std::vector<ValueId>& values) {
    std::set<size_t> together;
    for (ValueId id : values) {
      if (id == kNoValue) continue;
      for (std::span<const uint32_t> groups : axes_.groups_on(id)) {
        for (uint32_t group : groups) {
          if (family_of[group] < count) together.insert(family_of[group]);
        }
      }
    }
    for (size_t f : together) result[f].insert(together.begin(), together.end());
  };
  for (NodeId id : nodes_) {
    std::vector<ValueId> values = graph_.node(id).inputs;
    values.insert(values.end(), graph_.node(id).outputs.begin(), graph_.node(id).outputs.end());
    join(values);
  }
  for (ValueId id : weights_) join({id});
  return result;
}

std::vector<int64_t> legal_counts(const Family& family, const AllocationLimits& limits) {
  const auto count = static_cast<int64_t>(family.groups.size());
  const auto share =
      static_cast<int64_t>(std::ceil(limits.smallest_share * static_cast<double>(count) - 1e-9));
  const int64_t channels = (limits.min_channels + family.width - 1) / family.width;
  const int64_t least = std::max({family.least, share, channels});
  const int64_t unit = limits.multiple / std::gcd(limits.multiple, family.width);
  std::vector<int64_t> counts = {count};
  for (;;) {
    const int64_t next = (counts.back() - 1) / unit * unit;
    if (next < least) return counts;
    counts.push_back(next);
  }
}

SharedAxes::SharedAxes(const AxisMap& axes, uint32_t group_count) {
  std::vector<std::vector<size_t>> sets_of(group_count);
  for (const std::vector<uint32_t>& set : axes.exclusive_sets()) {
    for (uint32_t group : set) sets_of[group].push_back(sizes_.size());
    sizes_.push_back(set.size());
  }
  for (const std::vector<size_t>& sets : sets_of) {
    begin_.push_back(sets_.size());
    sets_.insert(sets_.end(), sets.begin(), sets.end());
  }
  begin_.push_back(sets_.size());
}

bool AxisGuard::take(std::span<const uint32_t> groups) {
  const auto for_sets = [&](const auto& body) {
    for (uint32_t group : groups) {
      for (size_t i = axes_.begin_[group]; i < axes_.begin_[group + 1]; ++i) body(axes_.sets_[i]);
    }
  };
  bool empties = false;
  for_sets([&](size_t set) { empties |= --left_[set] == 0; });
  if (empties) for_sets([&](size_t set) { ++left_[set]; });
  return !empties;
}

std::optional<std::vector<bool>> allocate_uniform(const std::vector<RankedFamily>& families,
                                                  const AxisMap& axes, const SizeModel& model,
                                                  const AllocationLimits& limits,
                                                  uint32_t group_count, double target) {
  std::vector<Step> steps;
  for (const RankedFamily& family : families) add_steps(family, limits, steps);
  std::ranges::stable_sort(steps, [](const Step& a, const Step& b) {
    return a.ratio != b.ratio ? a.ratio < b.ratio : a.score < b.score;
  });
  const SharedAxes shared(axes, group_count);
  AxisGuard guard(shared);
  std::erase_if(steps, [&](const Step& step) { return !guard.take(step.groups); });
  const auto doom = [&](size_t count) {
    std::vector<bool> doomed(group_count);
    for (size_t i = 0; i < count; ++i) {
      for (uint32_t group : steps[i].groups) doomed[group] = true;
    }
    return doomed;
  };
  if (model.without(doom(steps.size())) > target) return {};
  size_t low = 0, high = steps.size();  // Removing more never costs more.
  while (low < high) {
    const size_t middle = (low + high) / 2;
    if (model.without(doom(middle)) <= target) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return doom(high);
}

std::vector<bool> allocate_least(const std::vector<Family>& families, const AxisMap& axes,
                                 const AllocationLimits& limits, uint32_t group_count) {
  std::vector<bool> doomed(group_count);
  const SharedAxes shared(axes, group_count);
  AxisGuard guard(shared);
  for (const Family& family : families) {
    const auto gone =
        static_cast<int64_t>(family.groups.size()) - legal_counts(family, limits).back();
    for (int64_t i = 0; i < gone; ++i) {
      const uint32_t group = family.groups[static_cast<size_t>(i)];
      doomed[group] = guard.take(group);
    }
  }
  return doomed;
}

}  // namespace pare
