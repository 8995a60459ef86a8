#include "passes/quantize_int8.h"

#include <algorithm>
#include <cmath>

#include "config/glob.h"
#include "passes/power_of_two.h"
#include "passes/qoperator_form.h"
#include "passes/quantize_int8_plan.h"
#include "passes/quantize_int8_rewrite.h"
#include "passes/quantize_int8_scales.h"
#include "passes/quantize_weights.h"
#include "passes/upgrade_opset.h"

namespace pare {
namespace {

/// QuantizeLinear exists from opset 10 on, its scales per channel from 13 on.
constexpr int64_t kPerTensorOpset = 10, kPerChannelOpset = 13;
/// Four and sixteen bits.
constexpr int64_t kNarrowAndWideOpset = 21;

bool matches_any(const std::vector<std::string>& patterns, const Node& node) {
  return std::ranges::any_of(patterns, [&](const std::string& pattern) {
    return matches_glob(pattern, node.name) || matches_glob(pattern, node.op);
  });
}

class QuantizeInt8 final : public Pass {
 public:
  explicit QuantizeInt8(QuantizeInt8Options options) : options_(std::move(options)) {}

  std::string_view name() const override { return "quantize-int8"; }
  Effect effect() const override { return Effect::kLossy; }
  bool needs_data() const override { return true; }

  PassStats run(Graph& graph, PassContext& context) override {
    check_patterns(graph, context);
    raise_opset(graph, context);
    const GraphSection section(graph, options_.from, options_.to);
    const int64_t factors = options_.power_of_two ? insert_pool_factors(graph, section) : 0;
    QuantPlan plan;
    const std::map<ValueId, Range> ranges = measure(graph, section, context, plan);
    set_bits(graph, section, plan);
    const std::map<ValueId, ActivationCode> activations =
        options_.power_of_two ? power_of_two_codes(graph, plan, ranges, context)
                              : codes(plan, ranges);
    const std::map<NodeId, WeightFit> fits = fit(graph, plan, activations, context);
    std::map<NodeId, WeightCode> weights;
    for (const auto& [id, fit] : fits) weights.emplace(id, fit.code);
    const QuantCounts counts = insert_codes(graph, plan, activations, weights, options_);
    const int64_t operators = options_.operators ? to_qoperators(graph) : 0;
    if (plan.nodes.empty()) context.warning("quantize-int8 found nothing to quantize");
    PassStats stats = {{"nodes quantized", static_cast<int64_t>(plan.nodes.size())},
                       {"activations quantized", counts.activations},
                       {"weights quantized", counts.weights},
                       {"biases quantized", counts.biases}};
    if (counts.float_biases > 0) stats["biases left in float"] = counts.float_biases;
    if (options_.operators) stats["operators that take integers"] = operators;
    if (factors > 0) stats["pools divided as the hardware does"] = factors;
    report_left(graph, plan, stats);
    if (!fits.empty()) stats["weights"] = table_of(graph, fits);
    return stats;
  }

 private:
  void check_patterns(const Graph& graph, const PassContext& context) const {
    std::vector<std::string> patterns = options_.include;
    patterns.insert(patterns.end(), options_.exclude.begin(), options_.exclude.end());
    for (const LayerBits& layer : options_.overrides) patterns.push_back(layer.pattern);
    for (const std::string& pattern : patterns) {
      const bool found = std::ranges::any_of(
          graph.order(), [&](NodeId id) { return matches_any({pattern}, graph.node(id)); });
      if (!found) context.warning("no node or operator matches '" + pattern + "'");
    }
    const auto norms = std::ranges::count_if(graph.order(), [&](NodeId id) {
      const Node& node = graph.node(id);
      const std::optional<NodeId> producer =
          node.op == "BatchNormalization" ? graph.value(node.inputs[0]).producer : std::nullopt;
      return producer && graph.node(*producer).op == "Conv";
    });
    if (norms > 0)
      context.warning(std::to_string(norms) +
                      " BatchNormalization nodes stay in float behind a Conv; run fold-batch-norm "
                      "before quantize-int8");
  }

  static void report_left(const Graph& graph, const QuantPlan& plan, PassStats& stats) {
    if (plan.left.empty()) return;
    StatTable table{.columns = {"node", "op", "reason"}, .rows = {}};
    std::map<std::string, int64_t> counts;
    for (const auto& [id, reason] : plan.left) {
      ++counts[reason];
      table.rows.push_back({graph.node(id).name, graph.node(id).op, reason});
    }
    for (const auto& [reason, count] : counts) stats["left in float: " + reason] = count;
    stats["left in float"] = std::move(table);
  }

  /// What was done to the weights of each node, in execution order.
  static StatTable table_of(const Graph& graph, const std::map<NodeId, WeightFit>& fits) {
    StatTable table{.columns = {"node", "op", "bits", "SQNR [dB]"}, .rows = {}};
    for (const NodeId id : graph.order()) {
      const auto it = fits.find(id);
      if (it == fits.end()) continue;
      const WeightFit& fit = it->second;
      StatTable::Cell sqnr;
      if (fit.noise > 0 && fit.signal > 0) sqnr = 10 * std::log10(fit.signal / fit.noise);
      table.rows.push_back(
          {graph.node(id).name, graph.node(id).op, int64_t{fit.code.steps.bits}, std::move(sqnr)});
    }
    return table;
  }

  /// Bits of the weights of each weighted node.
  void set_bits(const Graph& graph, const GraphSection& section, QuantPlan& plan) const {
    const std::vector<bool> edges = edge_nodes(graph, section);
    for (const NodeId id : plan.nodes) {
      const Node& node = graph.node(id);
      if (node.def->quant != Quant::kWeighted) continue;
      const auto chosen = options_.chosen.find(id);
      const int bits = options_.edges_at_8 && edges[index(id)] ? 8
                       : chosen != options_.chosen.end()       ? chosen->second
                                                               : options_.weight_bits;
      plan.weight_bits[id] = bits_of(node).value_or(bits);
    }
  }

  /// What the overrides say of a node.
  std::optional<int> bits_of(const Node& node) const {
    const auto last =
        std::find_if(options_.overrides.rbegin(), options_.overrides.rend(),
                     [&](const LayerBits& layer) { return matches_any({layer.pattern}, node); });
    if (last == options_.overrides.rend()) return {};
    return last->bits;
  }

  std::map<NodeId, WeightFit> fit(Graph& graph, const QuantPlan& plan,
                                  const std::map<ValueId, ActivationCode>& codes,
                                  const PassContext& context) const {
    if (!options_.correct || plan.nodes.empty()) return {};
    WeightFitOptions fit{.moments = options_.fit,
                         .absorb = options_.absorb,
                         .rounding = options_.rounding,
                         .per_channel = options_.per_channel,
                         .reduce_range = options_.reduce_range,
                         .power_of_two = options_.power_of_two};
    fit.moments.samples = options_.samples;
    return fit_weights(graph, plan, codes, fit, context);
  }

  void raise_opset(Graph& graph, const PassContext& context) const {
    const int64_t needed = needed_opset();
    const int64_t found = graph.opset();
    if (found >= needed) return;
    const int64_t target = std::max(needed, kPerChannelOpset);
    upgrade_opset(graph, target);
    context.warning("the model was converted from opset " + std::to_string(found) + " to " +
                    std::to_string(target) + ", which this quantization needs");
  }

  int64_t needed_opset() const {
    if (bit_width(options_.activations) > 8 || options_.packed) return kNarrowAndWideOpset;
    // Operators on integers are clipped from opset 12 on.
    return options_.per_channel || options_.operators ? kPerChannelOpset : kPerTensorOpset;
  }

  bool wanted(const Node& node) const {
    return (options_.include.empty() || matches_any(options_.include, node)) &&
           !matches_any(options_.exclude, node) && bits_of(node) != LayerBits::kFloat;
  }

  /// Fills `plan` and returns the range of each of its values. A node whose operand has no range
  /// (never computed, or never finite) stays in float; the plan is then made anew.
  std::map<ValueId, Range> measure(const Graph& graph, const GraphSection& section,
                                   const PassContext& context, QuantPlan& plan) const {
    std::map<ValueId, Range> ranges;
    std::map<NodeId, std::string> blocked;
    const auto is_wanted = [&](const Node& node) { return wanted(node); };
    for (;;) {
      plan = plan_quantization(graph, section, is_wanted, blocked, options_.power_of_two);
      std::vector<ValueId> unmeasured;
      for (const ValueId id : plan.values) {
        if (!ranges.contains(id)) unmeasured.push_back(id);
      }
      if (unmeasured.empty()) return ranges;
      ranges.merge(calibrate(graph, *context.data, context.data->spread(options_.samples),
                             unmeasured, calibration(context)));
      const size_t known = blocked.size();
      for (const ValueId id : unmeasured) {
        if (!ranges.contains(id)) block(graph, id, blocked);
      }
      if (blocked.size() == known) return ranges;
    }
  }

  static void block(const Graph& graph, ValueId id, std::map<NodeId, std::string>& blocked) {
    constexpr const char* kReason = "no finite range observed";
    for (const Use& use : graph.value(id).uses) blocked.emplace(use.node, kReason);
    std::optional<NodeId> producer = graph.value(id).producer;
    if (!producer) return;
    blocked.emplace(*producer, kReason);
    // The value may lie behind a fused activation: then its operand's maker is to blame.
    const Node& node = graph.node(*producer);
    const bool merges = node.def && node.def->quant == Quant::kActivation;
    if (merges && graph.value(node.inputs[0]).producer)
      blocked.emplace(*graph.value(node.inputs[0]).producer, kReason);
  }

  CalibrateOptions calibration(const PassContext& context) const {
    CalibrateOptions calibration;
    calibration.run.threads = context.threads;
    calibration.run.progress = context.progress;
    calibration.run.stage = "calibrating";
    calibration.method = options_.ranges;
    calibration.percentile = options_.percentile;
    return calibration;
  }

  /// Values that share a code get one for all their ranges together.
  std::map<ValueId, ActivationCode> codes(const QuantPlan& plan,
                                          const std::map<ValueId, Range>& ranges) const {
    std::map<ValueId, Range> joint;  // By QuantPlan::code_of.
    for (const ValueId id : plan.values) {
      PARE_CHECK(ranges.contains(id), "a value to quantize has no range");
      const Range range = ranges.at(id);
      const auto [it, fresh] = joint.emplace(plan.code_of[index(id)], range);
      if (fresh) continue;
      it->second.low = std::min(it->second.low, range.low);
      it->second.high = std::max(it->second.high, range.high);
    }
    std::map<ValueId, ActivationCode> codes;
    for (const ValueId id : plan.values)
      codes.emplace(id, activation_code(joint.at(plan.code_of[index(id)]), options_.activations,
                                        options_.symmetric));
    return codes;
  }

  QuantizeInt8Options options_;
};

}  // namespace

std::unique_ptr<Pass> make_quantize_int8(const QuantizeInt8Options& options) {
  return std::make_unique<QuantizeInt8>(options);
}

}  // namespace pare
