#include "passes/power_of_two.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "exec/engine.h"
#include "ir/slice.h"
#include "passes/lockstep.h"
#include "passes/lockstep_settings.h"
#include "support/parallel.h"

namespace pare {
namespace {

constexpr int64_t kSamples = 64;
constexpr size_t kCandidates = 3;
constexpr double kHighest = 127;

using Errors = std::array<double, kCandidates>;

/// `x` rounded to multiples of `scale` in [-128, 127] of them.
Tensor rounded(const Tensor& x, float scale) {
  Tensor result = x;
  for (float& value : result.mutable_data<float>())
    value = std::clamp(std::nearbyint(value / scale), -128.0f, 127.0f) * scale;
  return result;
}

double squared_distance(const Tensor& a, const Tensor& b) {
  const std::span<const float> x = a.data<float>(), y = b.data<float>();
  double sum = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double d = static_cast<double>(x[i]) - static_cast<double>(y[i]);
    sum += d * d;
  }
  return sum;
}

double energy(const Tensor& x) {
  double sum = 0;
  for (const float value : x.data<float>())
    sum += static_cast<double>(value) * static_cast<double>(value);
  return sum;
}

class ExponentChooser {
 public:
  ExponentChooser(const Graph& graph, const QuantPlan& plan, const std::map<ValueId, Range>& ranges,
                  const PassContext& context)
      : graph_(graph),
        plan_(plan),
        context_(context),
        lockstep_(graph, graph, *context.data,
                  lockstep_settings(graph, graph, {.samples = kSamples}, context)) {
    for (const auto& [id, range] : ranges) reach(id, std::max(-range.low, range.high));
    for (const NodeId id : plan.nodes) reach_constants(graph.node(id));
    for (const ValueId id : plan.values)
      scales_.emplace(plan.code_of[index(id)],
                      power_of_two_above(reach_[plan.code_of[index(id)]] / kHighest));
  }

  std::map<ValueId, ActivationCode> run() {
    const std::vector<NodeId>& order = lockstep_.order();
    for (size_t i = 0; i < order.size(); ++i) {
      context_.progress.step("choosing exponents", static_cast<int64_t>(i),
                             static_cast<int64_t>(order.size()));
      // First: a node may be the last that wants its operands.
      if (plan_.quantized[index(order[i])]) measure(order[i]);
      lockstep_.run_original(order[i]);
      for (const ValueId output : graph_.node(order[i]).outputs) {
        if (output != kNoValue && scales_.contains(plan_.code_of[index(output)]))
          measure_itself(output);
      }
      lockstep_.release(i);
    }
    std::map<ValueId, ActivationCode> codes;
    for (const ValueId id : plan_.values) {
      const ValueId group = plan_.code_of[index(id)];
      const Errors& errors = errors_[group];
      const auto best = std::ranges::min_element(errors) - errors.begin();
      codes.emplace(
          id, ActivationCode{
                  DType::kI8,
                  static_cast<float>(std::ldexp(scales_.at(group), -static_cast<int>(best))), 0});
    }
    return codes;
  }

 private:
  void reach(ValueId id, float most) {
    double& known = reach_[plan_.code_of[index(id)]];
    known = std::max(known, static_cast<double>(most));
  }

  /// Constants that are added or joined to activations are stored as those are.
  void reach_constants(const Node& node) {
    if (!shares_one_code(node)) return;
    for (const ValueId other : node.inputs) {
      if (other == kNoValue || graph_.constant(other)) continue;
      for (const ValueId id : node.inputs) {
        const Tensor* constant = id == kNoValue ? nullptr : graph_.constant(id);
        if (!constant || constant->dtype() != DType::kF32) continue;
        for (const float value : constant->data<float>()) reach(other, std::abs(value));
      }
      return;
    }
  }

  float scale(ValueId id, size_t candidate) const {
    return static_cast<float>(
        std::ldexp(scales_.at(plan_.code_of[index(id)]), -static_cast<int>(candidate)));
  }

  /// What codes of its operands do to the result of a node.
  void measure(NodeId id) {
    const Node& node = graph_.node(id);
    std::vector<NodeId> nodes = {id};
    const std::optional<NodeId> user = graph_.sole_user(node.outputs[0]);
    if (user && plan_.fused[index(*user)]) nodes.push_back(*user);
    const Graph part = slice(graph_, nodes);
    const Engine engine(part);
    const std::vector<ValueId> operands = computed_operands(graph_, nodes);
    for (size_t slot = 0; slot < operands.size(); ++slot) {
      if (!scales_.contains(plan_.code_of[index(operands[slot])])) continue;
      add(operands[slot], [&](int64_t batch, Errors& errors, double& whole) {
        std::vector<Tensor> inputs;
        for (const ValueId input : operands) inputs.push_back(lockstep_.original(input, batch));
        const Tensor x = inputs[slot];
        const Tensor y = engine.run(inputs).at(0);
        if (y.dtype() != DType::kF32) return;
        whole = energy(y);
        for (size_t c = 0; c < kCandidates; ++c) {
          inputs[slot] = rounded(x, scale(operands[slot], c));
          errors[c] = squared_distance(engine.run(inputs).at(0), y);
        }
      });
    }
  }

  /// What its code does to a value that no INT8 node reads.
  void measure_itself(ValueId id) {
    const bool read = std::ranges::any_of(
        graph_.value(id).uses, [&](const Use& use) { return plan_.quantized[index(use.node)]; });
    if (read || !std::ranges::binary_search(plan_.values, id)) return;
    add(id, [&](int64_t batch, Errors& errors, double& whole) {
      const Tensor x = lockstep_.original(id, batch);
      whole = energy(x);
      for (size_t c = 0; c < kCandidates; ++c)
        errors[c] = squared_distance(rounded(x, scale(id, c)), x);
    });
  }

  /// Adds the relative errors that `of` finds over all batches, summed in their order.
  template <typename F>
  void add(ValueId id, const F& of) {
    const auto batches = static_cast<size_t>(lockstep_.batches());
    std::vector<Errors> errors(batches, Errors{});
    std::vector<double> whole(batches, 0.0);
    parallel_for(lockstep_.batches(), lockstep_.threads(), [&](int64_t batch) {
      const auto b = static_cast<size_t>(batch);
      of(batch, errors[b], whole[b]);
    });
    double energy_of_all = 0;
    Errors sum{};
    for (size_t b = 0; b < batches; ++b) {
      energy_of_all += whole[b];
      for (size_t c = 0; c < kCandidates; ++c) sum[c] += errors[b][c];
    }
    if (!(energy_of_all > 0)) return;
    Errors& total = errors_[plan_.code_of[index(id)]];
    for (size_t c = 0; c < kCandidates; ++c) total[c] += sum[c] / energy_of_all;
  }

  const Graph& graph_;
  const QuantPlan& plan_;
  const PassContext& context_;
  Lockstep lockstep_;
  // By QuantPlan::code_of: the largest absolute element, the scale that reaches it, errors of the
  // candidates.
  std::map<ValueId, double> reach_, scales_;
  std::map<ValueId, Errors> errors_;
};

/// Makes a node of `y` and gives its result to everything that used `y`.
void put_behind(Graph& graph, ValueId y, std::string_view op, std::vector<ValueId> operands,
                const std::string& name) {
  const std::vector<Use> uses = graph.value(y).uses;
  const auto first = std::ranges::find_if(graph.order(), [&](NodeId id) {
    return std::ranges::find(uses, id, &Use::node) != uses.end();
  });
  const ValueId made = first != graph.order().end()
                           ? graph.insert_node(*first, op, std::move(operands), {}, name)
                           : graph.add_node(op, std::move(operands), {}, name);
  if (graph.is_output(y)) {
    graph.replace_uses(y, made);
    graph.set_input(*graph.value(made).producer, 0, y);
  } else {
    for (const Use& use : uses) graph.set_input(use.node, use.slot, made);
  }
}

int64_t nearest_multiplier(int64_t window, int shift) {
  return static_cast<int64_t>(std::nearbyint(std::ldexp(1.0, shift) / static_cast<double>(window)));
}

}  // namespace

PoolFactor pool_factor(int64_t height, int64_t width) {
  struct Known {
    int64_t side;
    PoolFactor factor;
  };
  static constexpr Known kKnown[] = {
      {3, {7, 6}}, {5, {10, 8}}, {6, {7, 8}}, {7, {21, 10}}, {14, {21, 12}}};
  for (const Known& known : kKnown)
    if (height == known.side && width == known.side) return known.factor;
  const int64_t window = height * width;
  const int shifts = static_cast<int>(std::ceil(std::log2(static_cast<double>(window) * 128)));
  PoolFactor best;
  double least = 1;
  for (int shift = 0; shift < shifts; ++shift) {
    const int64_t multiplier = nearest_multiplier(window, shift);
    const double error = std::abs(std::ldexp(static_cast<double>(multiplier), -shift) -
                                  1.0 / static_cast<double>(window));
    if (error < least) least = error, best = {multiplier, shift};
  }
  return best;
}

std::optional<PoolFactor> pool_factor(const Graph& graph, const Node& node) {
  if (!node.has_input(0) || !graph.type(node.inputs[0]).known()) return {};
  const Shape& x = graph.shape(node.inputs[0]);
  if (x.size() != 4) return {};
  if (node.op == "GlobalAveragePool") return pool_factor(x[2], x[3]);
  if (node.op != "AveragePool") return {};
  const auto kernel = node.attribute("kernel_shape", std::vector<int64_t>{});
  const auto pads = node.attribute("pads", std::vector<int64_t>{});
  const bool padded = std::ranges::any_of(pads, [](int64_t pad) { return pad != 0; }) ||
                      node.attribute("auto_pad", std::string("NOTSET")).starts_with("SAME");
  const bool whole = !padded || node.attribute("count_include_pad", int64_t{0}) != 0;
  if (kernel.size() != 2 || !whole || node.attribute("ceil_mode", int64_t{0}) != 0) return {};
  return pool_factor(kernel[0], kernel[1]);
}

double pool_ratio(const Graph& graph, const Node& pool, PoolFactor factor) {
  const Shape& x = graph.shape(pool.inputs[0]);
  const auto kernel = pool.attribute("kernel_shape", std::vector<int64_t>{x[2], x[3]});
  return std::ldexp(static_cast<double>(factor.multiplier * kernel[0] * kernel[1]), -factor.shift);
}

int64_t insert_pool_factors(Graph& graph, const GraphSection& section) {
  int64_t inserted = 0;
  for (const NodeId id : std::vector<NodeId>(graph.order())) {
    if (!section.holds(id)) continue;
    const Node& node = graph.node(id);
    const std::optional<PoolFactor> factor = pool_factor(graph, node);
    const double ratio = factor ? pool_ratio(graph, node, *factor) : 1;
    if (ratio == 1) continue;
    const ValueId y = node.outputs[0];
    const ValueId constant = graph.add_constant(graph.value(y).name + "_factor",
                                                Tensor::scalar(static_cast<float>(ratio)));
    put_behind(graph, y, "Mul", {y, constant}, node.name + "_factor");
    ++inserted;
  }
  if (inserted > 0) graph.infer_types();
  return inserted;
}

bool is_pool_factor(const Graph& graph, const Node& mul) {
  if (mul.op != "Mul" || mul.inputs.size() != 2 || !mul.has_input(0) || !mul.has_input(1))
    return false;
  const std::optional<NodeId> producer = graph.value(mul.inputs[0]).producer;
  const Tensor* constant = graph.constant(mul.inputs[1]);
  return producer && constant && constant->size() == 1 &&
         pool_factor(graph, graph.node(*producer)).has_value() &&
         graph.sole_user(mul.inputs[0]).has_value();
}

std::map<ValueId, ActivationCode> power_of_two_codes(const Graph& graph, const QuantPlan& plan,
                                                     const std::map<ValueId, Range>& ranges,
                                                     const PassContext& context) {
  return ExponentChooser(graph, plan, ranges, context).run();
}

ActivationCode power_of_two_code(Range range) {
  const double reach = std::max({-range.low, range.high, 0.0f});
  return {DType::kI8, static_cast<float>(power_of_two_above(reach / kHighest)), 0};
}

double power_of_two_above(double scale) {
  constexpr int kSmallest = -40;  // Of what fits beside int32 sums, by far.
  if (!(scale > 0)) return 1;
  return std::ldexp(1.0, std::max(kSmallest, static_cast<int>(std::ceil(std::log2(scale)))));
}

}  // namespace pare
