// Quantized models in other forms: QOperator, and back to float.

#include <gtest/gtest.h>

#include <set>

#include "passes/dequantize.h"
#include "passes/qoperator_form.h"
#include "quantize_graphs.h"

namespace pare {
namespace {

/// Every operator that has a QOperator form, and two that move elements.
Network forms_network() {
  Network net({1, 3, 8, 8});
  ValueId y = net.node("Relu", {net.conv("stem", net.x, 8)}, "stem_relu");
  const ValueId low = net.graph.add_constant("low", Tensor::scalar(0.0f));
  const ValueId high = net.graph.add_constant("high", Tensor::scalar(6.0f));
  const ValueId z = net.node("Clip", {net.conv("branch", y, 8), low, high}, "clip");
  y = net.node("Relu", {net.node("Add", {y, z}, "add")}, "add_relu");
  y = net.node("Concat", {y, net.node("Mul", {y, z}, "mul")}, "join", {{"axis", int64_t{1}}});
  const std::vector<int64_t> two = {2, 2};
  y = net.node("MaxPool", {y}, "pool", {{"kernel_shape", two}, {"strides", two}});
  y = net.node("AveragePool", {y}, "average", {{"kernel_shape", two}, {"strides", two}});
  y = net.node("Flatten", {y}, "flatten");
  y = net.node(
      "Relu",
      {net.node("Gemm", {y, net.weight("fc1.w", {64, 16}), net.weight("fc1.b", {16})}, "fc1")},
      "fc1_relu");
  y = net.node("Gemm", {y, net.weight("fc2.w", {16, 5}), net.weight("fc2.b", {5})}, "fc2");
  net.graph.set_outputs({y});
  return net;
}

QuantizeInt8Options options(DType activations, bool operators) {
  QuantizeInt8Options options;
  options.activations = activations;
  options.symmetric = activations == DType::kI8;
  options.operators = operators;
  return options;
}

std::set<std::string> ops_of(const Graph& graph) {
  std::set<std::string> ops;
  for (const NodeId id : graph.order()) ops.insert(graph.node(id).op);
  return ops;
}

TEST(QOperatorForm, LeavesPairsAtTheBorderOnly) {
  Network net = forms_network();
  quantize(net.graph, images({16, 3, 8, 8}), options(DType::kU8, true));
  EXPECT_EQ(ops_of(net.graph), (std::set<std::string>{"QuantizeLinear", "QLinearConv", "QLinearAdd",
                                                      "QLinearMul", "QLinearConcat", "MaxPool",
                                                      "QLinearAveragePool", "Flatten", "QGemm"}));
  EXPECT_EQ(count(net.graph, "QuantizeLinear"), 1) << "of the image";
  EXPECT_EQ(net.graph.opset("com.microsoft"), 1);
}

TEST(QOperatorForm, ComputesWhatThePairsDo) {
  for (const DType activations : {DType::kU8, DType::kI8}) {
    Network pairs = forms_network(), operators = forms_network();
    const Dataset data = images({16, 3, 8, 8});
    quantize(pairs.graph, data, options(activations, false));
    quantize(operators.graph, data, options(activations, true));
    EXPECT_GT(compare(pairs.graph, operators.graph, data).sqnr_db, 40)
        << "but for steps where a rounding is on the edge";
  }
}

TEST(QOperatorForm, AReluThatSaturationDoesIsDropped) {
  Network net = forms_network();
  quantize(net.graph, images({16, 3, 8, 8}), options(DType::kU8, true));
  EXPECT_EQ(count(net.graph, "Relu"), 0);
  Network symmetric = forms_network();
  quantize(symmetric.graph, images({16, 3, 8, 8}), options(DType::kI8, true));
  EXPECT_GT(count(symmetric.graph, "Clip"), count(net.graph, "Clip"))
      << "codes with 0 in the middle go below it";
}

PassStats dequantize(Graph& graph) {
  PassContext context;
  PassStats stats = make_dequantize()->run(graph, context);
  verify(graph);
  return stats;
}

TEST(Dequantize, TakesBothFormsBackToAFloatNetwork) {
  for (const bool operators : {false, true}) {
    for (const DType activations : {DType::kU8, DType::kI8}) {
      Network net = forms_network();
      const Graph original = net.graph;
      const Dataset data = images({16, 3, 8, 8});
      quantize(net.graph, data, options(activations, operators));
      const Graph quantized = net.graph;
      dequantize(net.graph);
      for (const std::string& op : ops_of(net.graph))
        EXPECT_EQ(op.find("uantize"), std::string::npos) << op;
      for (const std::string& op : ops_of(net.graph)) EXPECT_NE(op.front(), 'Q') << op;
      EXPECT_GT(compare(original, net.graph, data).sqnr_db,
                compare(original, quantized, data).sqnr_db - 1)
          << "only the weights are still rounded";
    }
  }
}

TEST(Dequantize, PutsInTheReluThatSaturationDid) {
  Network net = forms_network();
  const Dataset data = images({16, 3, 8, 8});
  quantize(net.graph, data, options(DType::kU8, true));
  const PassStats stats = dequantize(net.graph);
  EXPECT_GE(std::get<int64_t>(stats.at("activations put in")), 3) << "stem, add, fc1";
}

TEST(Dequantize, WhatItMakesIsQuantizedAnew) {
  Network net = forms_network();
  const Graph original = net.graph;
  const Dataset data = images({16, 3, 8, 8});
  quantize(net.graph, data, options(DType::kU8, false));
  const int64_t pairs = count(net.graph, "QuantizeLinear");
  dequantize(net.graph);
  quantize(net.graph, data, options(DType::kU8, false));
  EXPECT_EQ(count(net.graph, "QuantizeLinear"), pairs);
  EXPECT_GT(compare(original, net.graph, data).sqnr_db, 25);
}

TEST(Dequantize, LeavesAFloatNetworkAlone) {
  Network net = forms_network();
  const uint64_t revision = net.graph.revision();
  dequantize(net.graph);
  EXPECT_EQ(net.graph.revision(), revision);
}

}  // namespace
}  // namespace pare
