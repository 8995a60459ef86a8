// quantize-mixed: which layer gets which width.

#include "passes/quantize_mixed.h"

#include <gtest/gtest.h>

#include <set>

#include "passes/shift_rules.h"
#include "quantize_graphs.h"

namespace pare {
namespace {

/// Six inner convs of two sizes between a stem and a classifier.
Network deep_network() {
  Network net({1, 3, 8, 8});
  ValueId y = net.node("Relu", {net.conv("stem", net.x, 8)}, "stem_relu");
  for (const int i : {0, 1, 2, 3, 4, 5}) {
    const std::string name = "inner" + std::to_string(i);
    y = net.node("Relu", {net.conv(name, y, i % 2 == 0 ? 16 : 8)}, name + "_relu");
  }
  y = net.node("Flatten", {y}, "flatten");
  const ValueId w = net.weight("fc.w", {512, 5});
  Tensor small = *net.graph.constant(w);  // So that logits are not far apart.
  for (float& x : small.mutable_data<float>()) x *= 3e-5f;
  net.graph.set_constant(w, small);
  net.graph.set_outputs({net.node("Gemm", {y, w}, "fc")});
  return net;
}

PassStats run(Graph& graph, const Dataset& data, const QuantizeMixedOptions& options,
              std::vector<std::string>* warnings = nullptr) {
  PassContext context;
  context.data = &data;
  context.threads = 2;
  if (warnings) context.warn = [=](const std::string& s) { warnings->push_back(s); };
  PassStats stats = make_quantize_mixed(options)->run(graph, context);
  verify(graph);
  return stats;
}

/// Bits that the weights of a node need.
int width(const Graph& graph, const std::string& name) {
  const auto [low, high] = extremes(graph, name);
  for (const int bits : {2, 3, 4}) {
    if (low >= -(1 << (bits - 1)) && high < 1 << (bits - 1)) return bits;
  }
  return 8;
}

const std::vector<std::string> kInner = {"inner0", "inner1", "inner2",
                                         "inner3", "inner4", "inner5"};

TEST(QuantizeMixed, KeepsTheAverageAndTheEdges) {
  const Dataset data = images({32, 3, 8, 8});
  for (const double average : {3.5, 4.5, 6.0}) {
    Network net = deep_network();
    QuantizeMixedOptions options;
    options.budget.amount = average;
    const PassStats stats = run(net.graph, data, options);
    double bits = 0, weights = 0;
    std::set<int> widths;
    for (const std::string& name : kInner) {
      const auto size =
          static_cast<double>(net.graph.constant(maker(net.graph, name, 1).inputs[0])->size());
      widths.insert(width(net.graph, name));
      bits += size * width(net.graph, name);
      weights += size;
    }
    for (const std::string name : {"stem", "fc"}) EXPECT_EQ(width(net.graph, name), 8) << name;
    EXPECT_LE(bits / weights, average * 1.001);
    EXPECT_GT(bits / weights, average - 0.8) << "the budget is used";
    EXPECT_GT(widths.size(), average == 3.5 ? 1u : 0u);
    EXPECT_EQ(std::get<StatTable>(stats.at("widths")).rows.size(), 8u);
  }
}

TEST(QuantizeMixed, SpendsWhatIsLeftWhereItHelps) {
  const Dataset data = images({32, 3, 8, 8});
  Network mixed = deep_network(), uniform = deep_network();
  const Graph before = mixed.graph;
  QuantizeMixedOptions options;
  // One layer of six may have 8 bits and the others 4, or more of them 8 and the rest 3.
  options.budget.amount = 4.7;
  run(mixed.graph, data, options);
  QuantizeInt8Options one;
  one.weight_bits = 4;
  quantize(uniform.graph, data, one);
  EXPECT_LT(compare(before, mixed.graph, data).kl, compare(before, uniform.graph, data).kl);
}

TEST(QuantizeMixed, AnOverrideAndTheLeastAverageHold) {
  Network net = deep_network();
  QuantizeMixedOptions options;
  options.budget.amount = 2;  // Out of reach: everything that may goes to the least.
  options.quantize.overrides = {LayerBits::parse("inner3=int8")};
  run(net.graph, images({16, 3, 8, 8}), options);
  for (const std::string& name : kInner)
    EXPECT_EQ(width(net.graph, name), name == "inner3" ? 8 : 3);
}

TEST(QuantizeMixed, WidthsGrowUntilTheDropIsAllowed) {
  const Dataset data = images({64, 3, 8, 8});
  QuantizeMixedOptions options;
  options.bits = {8, 2};
  options.budget.amount = 2;
  options.quantize.samples = 32;
  Network strict = deep_network(), loose = deep_network();
  options.max_drop = 0.999;
  run(loose.graph, data, options);
  options.max_drop = 1e-6;
  std::vector<std::string> warnings;
  const PassStats stats = run(strict.graph, data, options, &warnings);
  int loose_bits = 0, strict_bits = 0;
  for (const std::string& name : kInner) {
    loose_bits += width(loose.graph, name);
    strict_bits += width(strict.graph, name);
  }
  EXPECT_LT(loose_bits, strict_bits);
  const bool inside =
      std::get<double>(stats.at("held-out samples that change their class")) <= 1e-6;
  EXPECT_EQ(warnings.empty(), inside);
}

using Counted = WidthBudget::Measure;

TEST(WidthBudget, ReadsSharesAndAmountsWithTheirUnits) {
  const auto amount = [](Counted measure, const char* text) {
    return WidthBudget::parse(measure, text).target(10);
  };
  EXPECT_DOUBLE_EQ(amount(Counted::kBytes, "-60%"), 4);
  EXPECT_DOUBLE_EQ(amount(Counted::kBytes, "1.2M"), 1.2e6);
  EXPECT_DOUBLE_EQ(amount(Counted::kBytes, "300KB"), 3e5);
  EXPECT_DOUBLE_EQ(amount(Counted::kJoules, "0.2mJ"), 2e-4);
  EXPECT_DOUBLE_EQ(amount(Counted::kJoules, "30uJ"), 3e-5);
  EXPECT_DOUBLE_EQ(amount(Counted::kWatts, "3W"), 3);
  for (const char* text : {"", "J", "mJ", "-50%J", "-0.1mJ", "60%", "1.2x", "3W"})
    EXPECT_THROW(WidthBudget::parse(Counted::kJoules, text), Error) << text;
}

/// What `graph` costs in the unit of a budget, at a thousand inferences a second.
double cost_of(const Graph& graph, Counted measure) {
  const CostTotals totals = estimate_cost(graph, {}).totals;
  if (measure == Counted::kBytes) return static_cast<double>(totals.weight_bytes);
  return measure == Counted::kJoules ? totals.joules() : totals.watts(1000);
}

TEST(QuantizeMixed, ABudgetIsUsedAndMetFromBelow) {
  const Dataset data = images({16, 3, 8, 8});
  Graph widest = deep_network().graph, narrowest = widest;
  quantize(widest, data);
  QuantizeInt8Options three;
  three.weight_bits = 3;
  quantize(narrowest, data, three);
  for (const Counted measure : {Counted::kBytes, Counted::kJoules, Counted::kWatts}) {
    const double most = cost_of(widest, measure), least = cost_of(narrowest, measure);
    ASSERT_LT(least, most);
    QuantizeMixedOptions options;
    options.budget = {measure, (least + most) / 2, false};
    Graph graph = deep_network().graph;
    const PassStats stats = run(graph, data, options);
    EXPECT_LE(cost_of(graph, measure), options.budget.amount);
    EXPECT_GT(cost_of(graph, measure), options.budget.amount - 0.3 * (most - least));
    EXPECT_EQ(std::get<std::string>(stats.at("budget used")),
              quantity(measure, cost_of(graph, measure)));
  }
}

TEST(QuantizeMixed, ABudgetOutOfReachIsAWarningAndTheNarrowestWidths) {
  Network net = deep_network();
  QuantizeMixedOptions options;
  options.budget = {Counted::kBytes, 0.999, true};
  std::vector<std::string> warnings;
  run(net.graph, images({16, 3, 8, 8}), options, &warnings);
  for (const std::string& name : kInner) EXPECT_EQ(width(net.graph, name), 3);
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_TRUE(warnings[0].starts_with("the narrowest widths still take ")) << warnings[0];
}

TEST(QuantizeMixed, KeepsTheRulesOfHardwareThatRescalesByShifting) {
  const Dataset data = images({16, 3, 8, 8});
  Network net = deep_network();
  const Graph before = net.graph;
  QuantizeMixedOptions options;
  options.budget.amount = 4.5;
  options.quantize.power_of_two = options.quantize.symmetric = true;
  options.quantize.per_channel = false;
  options.quantize.activations = DType::kI8;
  options.quantize.ranges = RangeMethod::kMinMax;
  run(net.graph, data, options);
  for (const RuleBreak& rule : check_shift_rules(net.graph).breaks) ADD_FAILURE() << rule.sentence;
  std::set<int> widths;
  for (const std::string& name : kInner) widths.insert(width(net.graph, name));
  EXPECT_GT(widths.size(), 1u);
  EXPECT_EQ(width(net.graph, "stem"), 8);
  EXPECT_GT(compare(before, net.graph, data).sqnr_db, 5);
}

TEST(QuantizeMixed, OperatorsOnIntegersComputeWhatThePairsDo) {
  const Dataset data = images({16, 3, 8, 8});
  for (const Counted measure : {Counted::kAverageBits, Counted::kBytes}) {
    Network pairs = deep_network(), operators = deep_network();
    QuantizeMixedOptions options;
    options.budget = {measure, measure == Counted::kBytes ? 0.85 : 4.5, measure == Counted::kBytes};
    run(pairs.graph, data, options);
    options.quantize.operators = true;
    run(operators.graph, data, options);
    EXPECT_EQ(count(operators.graph, "QLinearConv"), 7);
    EXPECT_EQ(count(operators.graph, "Conv"), 0);
    const CostTotals a = estimate_cost(operators.graph, {}).totals;
    const CostTotals b = estimate_cost(pairs.graph, {}).totals;
    EXPECT_EQ(a.weight_bytes, b.weight_bytes) << "the same widths";
    EXPECT_DOUBLE_EQ(a.mac_joules, b.mac_joules);
    EXPECT_GT(compare(pairs.graph, operators.graph, data).sqnr_db, 30);
  }
}

}  // namespace
}  // namespace pare
