// diagnose_layers: which layer of a quantized network does harm.

#include <gtest/gtest.h>

#include <cmath>

#include "passes/diagnose_layers.h"
#include "quantize_graphs.h"

namespace pare {
namespace {

TEST(DiagnoseLayers, TheLayerOfFewBitsComesFirst) {
  const Dataset data = images({16, 3, 8, 8});
  Network net = residual_network();
  const Graph original = net.graph;
  QuantizeInt8Options options;
  options.overrides = {LayerBits::parse("inner=int2")};
  quantize(net.graph, data, options);
  const Diagnosis diagnosis = diagnose_layers(original, net.graph, data, {.samples = 16});
  ASSERT_EQ(diagnosis.layers.size(), 3u);
  EXPECT_TRUE(diagnosis.unmatched.empty());
  const LayerDiagnosis &worst = diagnosis.layers[0], &best = diagnosis.layers[2];
  EXPECT_EQ(worst.name, "inner");
  EXPECT_LE(worst.weight_bits, 3) << "two bits fit in three";
  EXPECT_LT(worst.alone.sqnr_db + 6, best.alone.sqnr_db);
  EXPECT_LT(worst.weights.sqnr_db + 20, best.weights.sqnr_db);
  EXPECT_LT(worst.result.sqnr_db, 25);
  EXPECT_GT(worst.result.cosine, 0.9);
  EXPECT_LT(worst.result.before.low, 0);
  EXPECT_GT(worst.weights.before.high, 0.9) << "noise in [-1, 1]";
  EXPECT_NEAR(worst.weights.before.deviation, 1 / std::sqrt(3.0), 0.05);
}

TEST(DiagnoseLayers, EachLayerAloneIsBetterThanTheWhole) {
  const Dataset data = images({16, 3, 8, 8});
  Network net = residual_network();
  const Graph original = net.graph;
  QuantizeInt8Options options;
  options.weight_bits = 4;
  options.edges_at_8 = false;
  quantize(net.graph, data, options);
  const Diagnosis diagnosis = diagnose_layers(original, net.graph, data, {.samples = 16});
  for (const LayerDiagnosis& layer : diagnosis.layers)
    EXPECT_GT(layer.alone.sqnr_db, diagnosis.outputs.sqnr_db - 1) << layer.name;
}

TEST(DiagnoseLayers, NeedsPartners) {
  const Dataset data = images({4, 3, 8, 8});
  const Network net = residual_network();
  EXPECT_THROW(diagnose_layers(net.graph, net.graph, data, {}), Error)
      << "nothing in it is quantized";
}

}  // namespace
}  // namespace pare
