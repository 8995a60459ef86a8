// quantize-mixed: which layer gets which width.

#include "passes/quantize_mixed.h"

#include <gtest/gtest.h>

#include <set>

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
    options.average_bits = average;
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
  options.average_bits = 4.7;
  run(mixed.graph, data, options);
  QuantizeInt8Options one;
  one.weight_bits = 4;
  quantize(uniform.graph, data, one);
  EXPECT_LT(compare(before, mixed.graph, data).kl, compare(before, uniform.graph, data).kl);
}

TEST(QuantizeMixed, AnOverrideAndTheLeastAverageHold) {
  Network net = deep_network();
  QuantizeMixedOptions options;
  options.average_bits = 2;  // Out of reach: everything that may goes to the least.
  options.quantize.overrides = {LayerBits::parse("inner3=int8")};
  run(net.graph, images({16, 3, 8, 8}), options);
  for (const std::string& name : kInner)
    EXPECT_EQ(width(net.graph, name), name == "inner3" ? 8 : 3);
}

TEST(QuantizeMixed, WidthsGrowUntilTheDropIsAllowed) {
  const Dataset data = images({64, 3, 8, 8});
  QuantizeMixedOptions options;
  options.bits = {8, 2};
  options.average_bits = 2;
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

}  // namespace
}  // namespace pare
