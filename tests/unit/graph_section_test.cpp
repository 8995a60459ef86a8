// The options from and to of quantize-int8: what surrounds a network stays in float.

#include <gtest/gtest.h>

#include <algorithm>

#include "error_message.h"
#include "quantize_graphs.h"

namespace pare {
namespace {

/// A residual network of three convs ("first", "middle", "last") on the tensor "prepared", whose
/// result is the tensor "features", between a conv that prepares the input and one with a pool that
/// works on the result.
Network surrounded_network() {
  Network net({1, 3, 8, 8});
  const auto named = [&](ValueId id, const std::string& name) {
    net.graph.rename(id, name);
    return id;
  };
  const ValueId x = named(net.node("Relu", {net.conv("prepare", net.x, 8)}, "clip"), "prepared");
  ValueId y = net.conv("middle", net.conv("first", x, 8), 8);
  y = net.conv("last", net.node("Add", {x, y}, "add"), 8);
  y = net.conv("conclude", named(y, "features"), 8);
  net.graph.set_outputs({net.node("GlobalAveragePool", {y}, "average")});
  return net;
}

bool is_quantized(const Graph& graph, const std::string& name) {
  const auto node =
      std::ranges::find_if(graph.order(), [&](NodeId id) { return graph.node(id).name == name; });
  const std::optional<NodeId> maker = graph.value(graph.node(*node).inputs[0]).producer;
  return maker && graph.node(*maker).op == "DequantizeLinear" &&
         !graph.constant(graph.node(*node).inputs[1]);
}

TEST(QuantizeInt8, WhatIsNotBetweenFromAndToStaysInFloat) {
  const Dataset data = images({8, 3, 8, 8});
  for (const bool power_of_two : {false, true}) {
    Network net = surrounded_network();
    QuantizeInt8Options options;
    options.power_of_two = power_of_two;
    options.activations = power_of_two ? DType::kI8 : DType::kU8;
    options.per_channel = !power_of_two;
    options.from = {"prepare?"};
    options.to = {"features"};
    const PassStats stats = quantize(net.graph, data, options);
    for (const char* name : {"first", "middle", "add", "last"})
      EXPECT_TRUE(is_quantized(net.graph, name)) << name;
    for (const char* name : {"prepare", "conclude"})
      EXPECT_FALSE(is_quantized(net.graph, name)) << name;
    EXPECT_EQ(count(net.graph, "Mul"), 0) << "a pool that stays in float divides exactly";
    EXPECT_EQ(std::get<int64_t>(stats.at("left in float: not between from and to")), 4);
    EXPECT_EQ(std::get<StatTable>(stats.at("left in float")).rows.size(), 4u);
  }
}

TEST(QuantizeInt8, TheFirstAndLastLayersAreThoseBetweenFromAndTo) {
  Network net = surrounded_network();
  QuantizeInt8Options options;
  options.weight_bits = 3;
  options.from = {"prepared"};
  options.to = {"features"};
  quantize(net.graph, images({8, 3, 8, 8}), options);
  for (const char* name : {"first", "last"}) EXPECT_LT(extremes(net.graph, name).first, -4) << name;
  EXPECT_GE(extremes(net.graph, "middle").first, -4);
}

TEST(QuantizeInt8, FromAndToMustNameTensorsOfWhichOneLeadsToTheOther) {
  Network net = surrounded_network();
  const auto run = [&](const char* from, const char* to) {
    QuantizeInt8Options options;
    options.from = {from};
    options.to = {to};
    return message([&] { quantize(net.graph, images({2, 3, 8, 8}), options); });
  };
  EXPECT_EQ(run("prepard", "features"),
            "from: no tensor's name matches 'prepard', did you mean 'prepared'?");
  EXPECT_EQ(run("prepared", "first.w").substr(0, 57),
            "to: no tensor's name matches 'first.w', expected one such");
  EXPECT_EQ(run("features", "prepared"),
            "nothing lies between from [features] and to [prepared], expected tensors of which "
            "the first lead to the last");
}

}  // namespace
}  // namespace pare
