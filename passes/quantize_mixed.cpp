#include "passes/quantize_mixed.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include "calib/runner.h"
#include "passes/dequantized.h"
#include "passes/graph_edit.h"
#include "passes/prune_channels_options.h"
#include "passes/quantize_int8_plan.h"
#include "passes/upgrade_opset.h"

namespace pare {
namespace {

constexpr int kWidest = 8;
/// Scales per channel exist from this opset on.
constexpr int64_t kOpset = 13;
/// Times a too large drop raises the budget before all is left at eight bits.
constexpr int kAttempts = 4;

/// A layer whose width is chosen.
struct Layer {
  NodeId node;
  double weights = 0;          ///< Elements.
  std::vector<double> losses;  ///< By QuantizeMixedOptions::bits; 0 for the widest.
  bool fixed = false;          ///< A first or last layer, which keeps eight bits.
};

/// How much worse outputs are: noise to signal; where they are classes of one sample each KL, and
/// noise only to tell apart what leaves a sure answer as sure.
double loss_of(const std::vector<Tensor>& reference, const std::vector<Tensor>& outputs) {
  constexpr double kNoiseShare = 1e-3;
  const Comparison c = compare_outputs(reference, outputs);
  const bool classes = reference.size() == 1 && reference[0].shape().size() == 2;
  const double noise = std::pow(10, -c.sqnr_db / 10);
  return classes ? c.kl + kNoiseShare * noise : noise;
}

class QuantizeMixed final : public Pass {
 public:
  explicit QuantizeMixed(QuantizeMixedOptions options) : options_(std::move(options)) {}

  std::string_view name() const override { return "quantize-mixed"; }
  Effect effect() const override { return Effect::kLossy; }
  bool needs_data() const override { return true; }

  PassStats run(Graph& graph, PassContext& context) override {
    if (graph.opset() < kOpset) {
      upgrade_opset(graph, kOpset);
      context.warning("the model was converted to opset 13, which this quantization needs");
    }
    std::vector<Graph> at = networks(graph, context);
    const std::vector<Layer> layers = measure(graph, at, context);
    const WidthCosts costs = costs_of(layers, std::move(at), context);
    const double target = options_.budget.target(costs.of(graph)), most = costs.most();
    double limit = target;
    for (int attempt = 0;; ++attempt) {
      const std::vector<size_t> widths = costs.choose(losses_of(layers), limit);
      const std::map<NodeId, int> chosen = bits_of(layers, widths);
      Graph quantized = graph;
      PassStats stats = quantize(quantized, chosen, context);
      const double drop = options_.max_drop ? changed_share(graph, quantized, context) : 0;
      if (!options_.max_drop || drop <= *options_.max_drop || limit >= most) {
        graph = std::move(quantized);
        report(graph, layers, chosen, stats);
        report_budget(averages() ? costs.of(widths) : costs.of(graph), target, attempt > 0, stats,
                      context);
        if (options_.max_drop) stats["held-out samples that change their class"] = drop;
        if (options_.max_drop && drop > *options_.max_drop)
          context.warning(
              "even with eight bits more samples change their best class than max-drop "
              "allows");
        return stats;
      }
      limit = attempt + 1 < kAttempts ? (limit + most) / 2 : most;
    }
  }

 private:
  bool averages() const { return options_.budget.measure == WidthBudget::Measure::kAverageBits; }

  PassStats quantize(Graph& graph, const std::map<NodeId, int>& chosen,
                     PassContext& context) const {
    QuantizeInt8Options options = options_.quantize;
    options.weight_bits = kWidest;
    options.chosen = chosen;
    return make_quantize_int8(options)->run(graph, context);
  }

  /// `graph` with all weights that may be chosen for at `bits`, each rounded to be itself.
  Graph all_at(const Graph& graph, int bits, PassContext& context) const {
    QuantizeInt8Options options = options_.quantize;
    options.weight_bits = bits;
    options.absorb = 0;
    options.packed = false;
    options.operators = false;
    PassContext quiet = context;
    quiet.warn = {};
    Graph copy = graph;
    make_quantize_int8(options)->run(copy, quiet);
    return copy;
  }

  /// The network with all layers at each width. Nothing asks for the widest one but what it costs.
  std::vector<Graph> networks(const Graph& graph, PassContext& context) const {
    std::vector<Graph> at;
    for (const int bits : options_.bits)
      at.push_back(bits == kWidest && averages() ? graph : all_at(graph, bits, context));
    return at;
  }

  std::vector<Layer> measure(const Graph& graph, const std::vector<Graph>& at,
                             PassContext& context) const {
    const std::vector<int64_t> samples = context.data->spread(options_.measure_samples);
    const RunOptions run{.threads = context.threads};
    const std::vector<Tensor> reference = run_outputs(graph, *context.data, samples, run);
    std::vector<Layer> layers = layers_of(graph, at.back());
    for (size_t b = 1; b < at.size(); ++b) {
      for (size_t i = 0; i < layers.size(); ++i) {
        if (layers[i].fixed) continue;
        context.progress.step("measuring widths", static_cast<int64_t>(i),
                              static_cast<int64_t>(layers.size()));
        const Graph probe = with_weights_of(graph, at[b], layers[i].node);
        layers[i].losses.push_back(
            loss_of(reference, run_outputs(probe, *context.data, samples, run)));
      }
    }
    return layers;
  }

  /// Weighted nodes whose constant weights are quantized.
  std::vector<Layer> layers_of(const Graph& graph, const Graph& narrow) const {
    std::vector<Layer> layers;
    const QuantizeInt8Options& wanted = options_.quantize;
    const std::vector<bool> edges = edge_nodes(graph, GraphSection(graph, wanted.from, wanted.to));
    for (const NodeId id : graph.order()) {
      const Node& node = graph.node(id);
      if (!node.def || node.def->quant != Quant::kWeighted || !graph.constant(node.inputs[1]))
        continue;
      if (!dequantized_constant(narrow, narrow.node(id).inputs[1])) continue;
      layers.push_back({.node = id,
                        .weights = static_cast<double>(graph.constant(node.inputs[1])->size()),
                        .losses = {0.0},
                        .fixed = wanted.edges_at_8 && edges[index(id)]});
    }
    return layers;
  }

  static Graph with_weights_of(const Graph& graph, const Graph& narrow, NodeId id) {
    Graph probe = graph;
    for (const size_t slot : {size_t{1}, size_t{2}}) {
      const Node& node = narrow.node(id);
      if (slot >= node.inputs.size()) continue;
      if (std::optional<Tensor> tensor = dequantized_constant(narrow, node.inputs[slot]))
        set_constant_operand(probe, id, slot, std::move(*tensor));
    }
    probe.infer_types();
    return probe;
  }

  WidthCosts costs_of(const std::vector<Layer>& layers, std::vector<Graph> at,
                      const PassContext& context) const {
    std::vector<WidthCosts::Layer> choices;
    for (const Layer& layer : layers) {
      if (!layer.fixed) choices.push_back({layer.node, layer.weights});
    }
    return {options_.budget.measure, options_.bits, std::move(at), std::move(choices), context};
  }

  static std::vector<std::vector<double>> losses_of(const std::vector<Layer>& layers) {
    std::vector<std::vector<double>> losses;
    for (const Layer& layer : layers) {
      if (!layer.fixed) losses.push_back(layer.losses);
    }
    return losses;
  }

  /// `widths` by layer that has a choice.
  std::map<NodeId, int> bits_of(const std::vector<Layer>& layers,
                                const std::vector<size_t>& widths) const {
    std::map<NodeId, int> bits;
    auto next = widths.begin();
    for (const Layer& layer : layers)
      bits[layer.node] = layer.fixed ? kWidest : options_.bits[*next++];
    return bits;
  }

  /// Share of samples that calibrated nothing (of all, where there are no others) whose best class
  /// is another.
  double changed_share(const Graph& before, const Graph& after, const PassContext& context) const {
    constexpr size_t kMost = 512;
    const std::vector<int64_t> used = context.data->spread(options_.quantize.samples);
    const std::set<int64_t> taken(used.begin(), used.end());
    std::vector<int64_t> held;
    for (int64_t i = 0; i < context.data->size(); ++i) {
      if (!taken.contains(i)) held.push_back(i);
    }
    if (held.empty()) {
      context.warning("all samples calibrate, so max-drop is measured on the same ones");
      held = used;
    }
    const size_t step = (held.size() + kMost - 1) / kMost;
    std::vector<int64_t> chosen;
    for (size_t i = 0; i < held.size(); i += step) chosen.push_back(held[i]);
    const RunOptions run{.threads = context.threads};
    const Comparison c = compare_outputs(run_outputs(before, *context.data, chosen, run),
                                         run_outputs(after, *context.data, chosen, run));
    return 1 - c.agreement;
  }

  /// Widths as they came to be: first and last layers and overrides have theirs.
  void report(const Graph& graph, const std::vector<Layer>& layers,
              const std::map<NodeId, int>& chosen, PassStats& stats) const {
    StatTable table{.columns = {"layer", "op", "weights", "chosen bits", "loss by width"},
                    .rows = {}};
    for (const Layer& layer : layers) {
      const Node& node = graph.node(layer.node);
      table.rows.push_back({node.name, node.op, static_cast<int64_t>(layer.weights),
                            int64_t{chosen.at(layer.node)}, layer.losses});
    }
    stats["widths"] = std::move(table);
  }

  /// What came of the budget.
  void report_budget(double reached, double target, bool raised, PassStats& stats,
                     const PassContext& context) const {
    const WidthBudget::Measure measure = options_.budget.measure;
    stats["budget"] = quantity(measure, target);
    stats["budget used"] = quantity(measure, reached);
    if (reached > target && !raised)
      context.warning("the narrowest widths still take " + quantity(measure, reached) +
                      ", more than the budget of " + quantity(measure, target));
  }

  QuantizeMixedOptions options_;
};

WidthBudget read_budget(Options& options) {
  using enum WidthBudget::Measure;
  constexpr std::array<std::pair<const char*, WidthBudget::Measure>, 3> kBudgets = {
      {{"bytes", kBytes}, {"energy", kJoules}, {"power", kWatts}}};
  WidthBudget result;
  std::string given = options.has("average-bits") ? "average-bits" : "";
  result.amount = options.number("average-bits", result.amount, 2, kWidest);
  for (const auto& [key, measure] : kBudgets) {
    if (options.has(key) && !given.empty())
      options.fail(key, "give either " + given + " or " + key + ", not both");
    const std::string text = options.text(key, "");
    if (text.empty()) continue;
    given = key;
    try {
      result = WidthBudget::parse(measure, text);
    } catch (const Error& error) {
      options.fail(key, error.what());
    }
  }
  return result;
}

}  // namespace

QuantizeMixedOptions read_quantize_mixed(Options& options) {
  QuantizeMixedOptions result;
  result.quantize = read_quantization(options);
  const std::vector<int64_t> bits = options.integers("bits", 2, 8);
  if (!bits.empty()) result.bits.assign(bits.begin(), bits.end());
  result.bits.push_back(kWidest);
  std::ranges::sort(result.bits, std::greater());
  result.bits.erase(std::unique(result.bits.begin(), result.bits.end()), result.bits.end());
  if (result.bits.size() < 2) options.fail("bits", "8 alone leaves nothing to choose");
  result.budget = read_budget(options);
  const std::string drop = options.text("max-drop", "");
  if (!drop.empty()) result.max_drop = read_drop(options, drop);
  result.measure_samples = options.integer("measure-samples", result.measure_samples, 1, 100'000);
  return result;
}

std::unique_ptr<Pass> make_quantize_mixed(const QuantizeMixedOptions& options) {
  return std::make_unique<QuantizeMixed>(options);
}

}  // namespace pare
