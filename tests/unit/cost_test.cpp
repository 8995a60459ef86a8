#include "cost/cost.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>

namespace pare {
namespace {

constexpr double kRate = 1000;  // Inferences per second.
constexpr Precision kFp32{true, 32}, kInt8{false, 8}, kBinary{false, 1};

double watts(uint64_t operations, Precision precision, Convention convention) {
  return kRate * mac_joules(EnergyTable(), operations / 2, precision, precision, convention);
}

// -- The worked examples of the published chain ---------------------------------------------------

TEST(Energy, ArticleChargesFp32ResNet50With33Point88Watts) {
  EXPECT_NEAR(watts(7'700'000'000, kFp32, Convention::kArticle), 33.88, 5e-5);
}

TEST(Energy, ArticleChargesInt8ResNet50With1Point771Watts) {
  EXPECT_NEAR(watts(7'700'000'000, kInt8, Convention::kArticle), 1.771, 5e-6);
}

TEST(Energy, ArticleChargesPrunedInt8ResNet50With1Point2397Watts) {
  EXPECT_NEAR(watts(5'390'000'000, kInt8, Convention::kArticle), 1.2397, 5e-7);
}

TEST(Energy, MacConventionChargesFp32With17Point71Watts) {
  EXPECT_NEAR(watts(7'700'000'000, kFp32, Convention::kMac), 17.71, 5e-5);
}

TEST(Energy, MacConventionChargesInt8With1Point155Watts) {
  EXPECT_NEAR(watts(7'700'000'000, kInt8, Convention::kMac), 1.155, 5e-6);
}

TEST(Energy, ReadingInt8WeightsFromDramCosts4Point14Watts) {
  EXPECT_NEAR(kRate * dram_joules(EnergyTable(), 25'500'000), 4.14, 5e-3);
}

// -- The table ------------------------------------------------------------------------------------

TEST(EnergyTable, FitsIntegerWidthsBetween) {
  const EnergyTable table;
  const auto multiply = [&](int a, int b) {
    return table.mac_pj(Precision{false, a}, Precision{false, b}, Convention::kMac) - 0.1;
  };
  EXPECT_NEAR(multiply(4, 4), 0.0521, 5e-5);
  EXPECT_NEAR(multiply(3, 3), 0.0301, 5e-5);
  EXPECT_NEAR(multiply(16, 16), 0.783, 5e-4);
  EXPECT_NEAR(multiply(4, 4) + 0.1, 0.152, 5e-4);
  EXPECT_NEAR(multiply(8, 4), 0.0029948 * 32 + 0.0010417 * 6, 1e-12)
      << "the root of the product in the square term, the mean in the linear one";
}

TEST(EnergyTable, ChargesABinaryMacAsTwoOneBitAdds) {
  EXPECT_NEAR(EnergyTable().mac_pj(kBinary, kBinary, Convention::kMac), 2 * 0.003125, 1e-12);
}

TEST(EnergyTable, ChargesAProductWithAFloatAsFloat) {
  EXPECT_DOUBLE_EQ(EnergyTable().mac_pj(DType::kF32, DType::kI8, Convention::kMac), 4.6);
  EXPECT_DOUBLE_EQ(EnergyTable().mac_pj(DType::kF16, DType::kF16, Convention::kMac), 1.5);
}

TEST(EnergyTable, ShippedFileEqualsTheDefaults) {
  const EnergyTable file =
      EnergyTable::load(std::string(PARE_SOURCE_DIR) + "/data/energy/horowitz-45nm.yaml");
  const EnergyTable table;
  EXPECT_EQ(file.name, table.name);
  EXPECT_EQ(file.source, table.source);
  for (const auto member : {&EnergyTable::fp32, &EnergyTable::fp16, &EnergyTable::article_fp32}) {
    EXPECT_EQ((file.*member).add, (table.*member).add);
    EXPECT_EQ((file.*member).multiply, (table.*member).multiply);
  }
  ASSERT_EQ(file.integers.size(), table.integers.size());
  for (size_t i = 0; i < table.integers.size(); ++i) {
    EXPECT_EQ(file.integers[i].bits, table.integers[i].bits);
    EXPECT_EQ(file.integers[i].add, table.integers[i].add);
    EXPECT_EQ(file.integers[i].multiply, table.integers[i].multiply);
  }
  EXPECT_EQ(file.integer_add_per_bit, table.integer_add_per_bit);
  EXPECT_EQ(file.integer_multiply_square, table.integer_multiply_square);
  EXPECT_EQ(file.integer_multiply_linear, table.integer_multiply_linear);
  EXPECT_EQ(file.integer_accumulate, table.integer_accumulate);
  EXPECT_EQ(file.dram_pj_per_byte, table.dram_pj_per_byte);
  ASSERT_EQ(file.sram.size(), table.sram.size());
  for (size_t i = 0; i < table.sram.size(); ++i) {
    EXPECT_EQ(file.sram[i].bytes, table.sram[i].bytes);
    EXPECT_EQ(file.sram[i].pj_per_byte, table.sram[i].pj_per_byte);
  }
}

/// What load() says about the shipped table with `from` replaced by `to`.
std::string complaint(const std::string& from, const std::string& to) {
  std::ifstream in(std::string(PARE_SOURCE_DIR) + "/data/energy/horowitz-45nm.yaml");
  std::string text{std::istreambuf_iterator<char>(in), {}};
  text.replace(text.find(from), from.size(), to);
  // Other tests of this may be running.
  const std::string test = testing::UnitTest::GetInstance()->current_test_info()->name();
  const std::string path = testing::TempDir() + test + "_table.yaml";
  std::ofstream(path) << text;
  try {
    EnergyTable::load(path);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUsage);
    return error.what();
  }
  return "accepted";
}

TEST(EnergyTable, NamesFileLineAndKeyOfAnUnknownKey) {
  EXPECT_THAT(complaint("float16: {add: 0.4, multiply", "float16: {add: 0.4, mutiply"),
              testing::ContainsRegex("table.yaml:[0-9]+: .*'float16' has the unknown key "
                                     "'mutiply', expected add, multiply"));
}

TEST(EnergyTable, NamesAMissingKeyAndABadNumber) {
  EXPECT_THAT(complaint("integer_accumulate: 0.1", ""),
              testing::HasSubstr("misses the key 'integer_accumulate'"));
  EXPECT_THAT(complaint("integer_accumulate: 0.1", "integer_accumulate: -1"),
              testing::HasSubstr("'integer_accumulate' is no number of 0 or more"));
  EXPECT_THAT(complaint("integer_accumulate: 0.1", "integer_accumulate: [1"),
              testing::HasSubstr("is no YAML"));
}

TEST(Precision, ReadsWhatItPrints) {
  for (const char* name : {"fp32", "fp16", "int8", "int4", "int3", "binary"})
    EXPECT_EQ(to_string(Precision::parse(name).value()), name);
  for (const char* name : {"", "int", "int1", "int99", "int8x", "float"})
    EXPECT_FALSE(Precision::parse(name)) << name;
}

// -- Graphs, over a table of a few operators whose counts are easy to see
// ---------------------------

std::vector<TensorType> same(const Node&, Operands in) { return {*in[0].type}; }
std::vector<TensorType> quantized(const Node&, Operands in) {
  return {{DType::kI8, in[0].shape(), in[0].type->ranked}};
}
std::vector<TensorType> dequantized(const Node&, Operands in) {
  return {{DType::kF32, in[0].shape(), in[0].type->ranked}};
}
std::vector<TensorType> product(const Node&, Operands in) {
  return {{in[0].type->dtype, {in[0].shape()[0], in[1].shape()[1]}}};
}
uint64_t product_macs(const Node&, Operands in, std::span<const TensorType> out) {
  return static_cast<uint64_t>(element_count(out[0].shape) * in[1].shape()[0]);
}
uint64_t one_each(const Node&, Operands, std::span<const TensorType> out) {
  return static_cast<uint64_t>(element_count(out[0].shape));
}

constinit const OpDef kMatMul = {.name = "MatMul",
                                 .min_inputs = 2,
                                 .max_inputs = 2,
                                 .infer = product,
                                 .macs = product_macs,
                                 .quant = Quant::kWeighted};
constinit const OpDef kRelu = {
    .name = "Relu", .infer = same, .other_ops = one_each, .quant = Quant::kActivation};
constinit const OpDef kAdd = {
    .name = "Add", .max_inputs = 2, .infer = same, .other_ops = one_each, .quant = Quant::kRescale};
constinit const OpDef kSoftmax = {.name = "Softmax", .infer = same, .other_ops = one_each};
constinit const OpDef kReshape = {
    .name = "Reshape", .max_inputs = 2, .infer = same, .quant = Quant::kPassThrough};
constinit const OpDef kQuantize = {
    .name = "QuantizeLinear", .max_inputs = 3, .infer = quantized, .other_ops = one_each};
constinit const OpDef kDequantize = {
    .name = "DequantizeLinear", .max_inputs = 3, .infer = dequantized, .other_ops = one_each};

const OpTable& ops() {
  static constexpr const OpDef* kRows[] = {&kMatMul,  &kRelu,     &kAdd,       &kSoftmax,
                                           &kReshape, &kQuantize, &kDequantize};
  static const OpTable kTable{kRows};
  return kTable;
}

/// x [rows, 64] -> MatMul with weights [64, 32] -> Relu -> y.
class Network {
 public:
  Network() : graph(ops()) { x = graph.add_input("x", {DType::kF32, {4, 64}}); }

  ValueId scale() { return graph.add_constant("scale", Tensor::scalar(0.1f)); }
  ValueId quantize(ValueId v) { return graph.add_node("QuantizeLinear", {v, scale()}); }
  ValueId dequantize(ValueId v) { return graph.add_node("DequantizeLinear", {v, scale()}); }
  ValueId weights(DType dtype) { return graph.add_constant("w", Tensor(dtype, {64, 32})); }
  ValueId weights() { return weights(DType::kF32); }
  Cost cost(const CostOptions& options = {}) { return estimate_cost(graph, options); }
  const LayerCost& layer(const Cost& cost, std::string_view op) const {
    for (const LayerCost& layer : cost.layers)
      if (graph.node(layer.node).op == op) return layer;
    throw Error(ErrorKind::kInternal, "no such layer");
  }

  Graph graph;
  ValueId x;
};

/// The float network; `int8` puts Q/DQ around the MatMul and its Relu.
Network network(bool int8) {
  Network n;
  const ValueId in = int8 ? n.dequantize(n.quantize(n.x)) : n.x;
  const ValueId w = int8 ? n.dequantize(n.weights(DType::kI8)) : n.weights();
  const ValueId y = n.graph.add_node("Relu", {n.graph.add_node("MatMul", {in, w})});
  n.graph.set_outputs({int8 ? n.dequantize(n.quantize(y)) : y});
  return n;
}

TEST(Cost, CountsMacsOtherOpsParametersAndBytesApart) {
  Network n = network(false);
  const Cost cost = n.cost();
  EXPECT_EQ(cost.totals.macs, 4u * 64 * 32);
  EXPECT_DOUBLE_EQ(cost.totals.gop(), 2e-9 * 4 * 64 * 32);
  EXPECT_EQ(cost.totals.other_ops, 4u * 32);
  EXPECT_EQ(cost.totals.parameters, 64u * 32);
  EXPECT_EQ(cost.totals.weight_bytes, 4u * 64 * 32);
  EXPECT_EQ(cost.totals.activation_bytes, 4u * (4 * 64 + 4 * 32)) << "the Relu moves nothing";
  EXPECT_TRUE(cost.uncosted.empty());
}

TEST(Cost, QdqFormIsChargedAsInt8) {
  Network n = network(true);
  const Cost cost = n.cost();
  const LayerCost& layer = n.layer(cost, "MatMul");
  EXPECT_EQ(layer.activation_type, DType::kI8);
  EXPECT_EQ(layer.weight_type, DType::kI8);
  EXPECT_EQ(layer.cost.activation_bytes, 4u * 64 + 4 * 32);
  EXPECT_EQ(layer.cost.weight_bytes, 64u * 32);
  EXPECT_NEAR(layer.cost.mac_joules, 4 * 64 * 32 * 0.3e-12, 1e-20);
  EXPECT_EQ(n.layer(cost, "Relu").activation_type, DType::kI8);
  EXPECT_EQ(cost.totals.parameters, 64u * 32) << "scales are no parameters";
}

TEST(Cost, WeightsOfFewBitsAreChargedAtThoseWhateverHoldsThem) {
  struct Case {
    int8_t low, high;
    DType held;
    int bits;
  };
  for (const Case& c :
       {Case{-8, 7, DType::kI8, 4}, Case{-8, 7, DType::kI4, 4}, Case{-4, 3, DType::kI8, 3},
        Case{-4, 4, DType::kI8, 4}, Case{-9, 7, DType::kI8, 8}, Case{0, 0, DType::kI8, 8}}) {
    Network n = network(true);
    const NodeId matmul = n.layer(n.cost(), "MatMul").node;
    const NodeId decode = *n.graph.value(n.graph.node(matmul).inputs[1]).producer;
    Tensor weights(DType::kI8, {64, 32});
    weights.mutable_data<int8_t>()[5] = c.low;
    weights.mutable_data<int8_t>()[6] = c.high;
    n.graph.set_constant(n.graph.node(decode).inputs[0], weights.retyped(c.held));
    const Cost cost = n.cost();
    const LayerCost& layer = n.layer(cost, "MatMul");
    const EnergyTable table;
    EXPECT_EQ(weight_precision(layer), "i" + std::to_string(c.bits)) << int{c.low};
    EXPECT_EQ(layer.cost.weight_bytes, 64u * 32 * static_cast<unsigned>(c.bits) / 8);
    EXPECT_NEAR(layer.cost.mac_joules,
                4 * 64 * 32 * 1e-12 *
                    table.mac_pj(Precision{false, 8}, Precision{false, c.bits}, Convention::kMac),
                1e-20);
  }
}

TEST(Cost, QuantizationIsFreeInsideAndWorkAtTheFloatBoundary) {
  Network n = network(true);
  const Cost cost = n.cost();
  // In order: Q and DQ of the input, DQ of the weights, MatMul, Relu, Q and DQ of the output.
  ASSERT_EQ(cost.layers.size(), 7u);
  const std::vector<bool> free{false, true, true, false, false, true, false};
  for (size_t i = 0; i < free.size(); ++i) {
    EXPECT_EQ(cost.layers[i].free, free[i]) << i;
    EXPECT_EQ(cost.layers[i].cost.other_ops == 0, free[i] || i == 3) << i;
  }
}

TEST(Cost, WeightsAloneInInt8AreMultipliedInFloatButStoredInt8) {
  Network n;
  n.graph.set_outputs({n.graph.add_node("MatMul", {n.x, n.dequantize(n.weights(DType::kI8))})});
  const Cost cost = n.cost();
  EXPECT_EQ(n.layer(cost, "MatMul").weight_type, DType::kF32);
  EXPECT_EQ(cost.totals.weight_bytes, 64u * 32);
  EXPECT_NEAR(cost.totals.mac_joules, 4 * 64 * 32 * 4.6e-12, 1e-18);
}

TEST(Cost, AFloatOpKeepsItsDequantizedOperandsInFloat) {
  Network n;
  const ValueId y = n.graph.add_node("Softmax", {n.dequantize(n.quantize(n.x))});
  n.graph.set_outputs({n.dequantize(n.quantize(y))});
  const Cost cost = n.cost();
  EXPECT_EQ(n.layer(cost, "Softmax").activation_type, DType::kF32);
  for (const LayerCost& layer : cost.layers) EXPECT_FALSE(layer.free);
}

TEST(Cost, AnAddBetweenQuantizedValuesIsInt8) {
  Network n;
  const ValueId a = n.quantize(n.x);
  const ValueId sum = n.graph.add_node("Add", {n.dequantize(a), n.dequantize(a)});
  n.graph.set_outputs({n.quantize(sum)});
  const Cost cost = n.cost();
  EXPECT_EQ(n.layer(cost, "Add").activation_type, DType::kI8);
  EXPECT_EQ(n.layer(cost, "Add").cost.activation_bytes, 2u * 4 * 64) << "one buffer read once";
}

TEST(Cost, AReluBehindAnAddBelongsToIt) {
  Network n;
  const ValueId a = n.quantize(n.x);
  const ValueId sum = n.graph.add_node("Add", {n.dequantize(a), n.dequantize(a)});
  n.graph.set_outputs({n.quantize(n.graph.add_node("Relu", {sum}))});
  const Cost cost = n.cost();
  EXPECT_EQ(n.layer(cost, "Add").activation_type, DType::kI8);
  EXPECT_EQ(n.layer(cost, "Relu").activation_type, DType::kI8);
  EXPECT_EQ(n.layer(cost, "Relu").cost.activation_bytes, 0u);
}

TEST(Cost, ASharedConstantIsCountedOnce) {
  Network n;
  const ValueId w = n.graph.add_constant("w", Tensor(DType::kF32, {64, 64}));
  const ValueId once = n.graph.add_node("MatMul", {n.x, w});
  n.graph.set_outputs({n.graph.add_node("MatMul", {once, w})});
  EXPECT_EQ(n.cost().totals.parameters, 64u * 64);
}

TEST(Cost, AViewAndWhatIsComputedFromConstantsAreFree) {
  Network n;
  const ValueId w = n.graph.add_node("Relu", {n.weights()});
  const ValueId y = n.graph.add_node("Reshape", {n.graph.add_node("MatMul", {n.x, w})});
  n.graph.set_outputs({y});
  const Cost cost = n.cost();
  EXPECT_EQ(cost.totals.other_ops, 0u);
  EXPECT_EQ(cost.totals.parameters, 64u * 32);
  EXPECT_EQ(cost.totals.activation_bytes, 4u * (4 * 64 + 4 * 32));
}

TEST(Cost, AnUnknownOperatorIsListedNotGuessed) {
  Network n;
  n.graph.set_outputs({n.graph.add_node("Mystery", {n.x})});
  EXPECT_EQ(n.cost().uncosted.size(), 1u);
}

TEST(Cost, WeightsThatFitTheBufferAreNotReadFromDram) {
  Network n = network(false);
  const uint64_t interface = 4 * (4 * 64 + 4 * 32);
  EXPECT_EQ(n.cost().totals.dram_bytes, interface);
  EXPECT_EQ(n.cost({.buffer_bytes = kTileBytes}).totals.dram_bytes, interface + 4 * 64 * 32);
  EXPECT_EQ(n.cost({.buffer_bytes = kTileBytes, .batch = 8}).totals.dram_bytes,
            interface + 64 * 32 / 2);
}

TEST(Cost, ActivationsThatDoNotFitGoToDramAndBack) {
  Network n;
  const ValueId middle = n.graph.add_node("Softmax", {n.x});
  n.graph.set_outputs({n.graph.add_node("Softmax", {middle})});
  const uint64_t one = 4 * 4 * 64;
  EXPECT_EQ(n.cost().totals.dram_bytes, 2 * one) << "input and output";
  EXPECT_EQ(n.cost({.buffer_bytes = kTileBytes + one}).totals.dram_bytes, 4 * one);
  EXPECT_EQ(n.cost().peak_activation_bytes, 2 * one);
}

TEST(Cost, OnChipEnergyFollowsTheTileModel) {
  Network n = network(false);
  const double crossing = 4.0 * (64 * 32 + 4 * 64 + 4 * 32) * 12.5;
  // 8192 MACs: 8192/16 fetches of activations, every weight once (2048 > 512).
  const double fetches = 4.0 * (512 + 2048) * 1.25;
  EXPECT_NEAR(n.cost().totals.on_chip_joules, (crossing + fetches) * 1e-12, 1e-18);
}

TEST(Cost, ArticleLeavesMemoryAndOtherOperationsOut) {
  Network n = network(false);
  const Cost cost = n.cost({.convention = Convention::kArticle});
  EXPECT_DOUBLE_EQ(cost.totals.joules(), cost.totals.mac_joules);
  EXPECT_NEAR(cost.totals.mac_joules, 2 * 4 * 64 * 32 * 4.4e-12, 1e-18);
}

TEST(Cost, WhatIfPrecisionReplacesEveryFloat) {
  Network n = network(false);
  const Cost cost = n.cost({.precision = kInt8});
  EXPECT_EQ(cost.totals.weight_bytes, 64u * 32);
  EXPECT_NEAR(cost.totals.mac_joules, 4 * 64 * 32 * 0.3e-12, 1e-20);
}

TEST(Cost, FourLinesSumToTheTotal) {
  Network n = network(true);
  const CostTotals totals = n.cost({.buffer_bytes = kTileBytes}).totals;
  EXPECT_GT(totals.other_joules, 0);
  EXPECT_GT(totals.dram_joules, 0);
  EXPECT_DOUBLE_EQ(totals.joules(), totals.mac_joules + totals.other_joules +
                                        totals.on_chip_joules + totals.dram_joules);
  EXPECT_DOUBLE_EQ(totals.watts(kRate), 1000 * totals.joules());
}

}  // namespace
}  // namespace pare
