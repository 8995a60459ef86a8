// The law of removal on random networks of everything that couples channels in practice: residuals,
// concatenations (of one tensor twice too), splits, slices, shuffles, depthwise and grouped
// convolutions, squeeze-excite, gathers, padded shortcuts, channels-last sections, classifier
// heads.

#include <gtest/gtest.h>

#include "calib/compare.h"
#include "calib/dataset.h"
#include "config/pipeline.h"
#include "exec/interpreter.h"
#include "law/slot_law.h"
#include "passes/registry.h"

namespace pare {
namespace {

using Integers = std::vector<int64_t>;

/// Grows a network from an image, one random layer after the other.
class RandomNet {
 public:
  explicit RandomNet(uint32_t seed) : law_(seed) {
    values_.push_back(law_.pointwise(law_.batch_input({1, 3, kSize, kSize}), 4));
  }

  LawGraph& grow(int layers) {
    static constexpr Layer kLayers[] = {
        &RandomNet::conv,    &RandomNet::depthwise,      &RandomNet::grouped,
        &RandomNet::norm,    &RandomNet::relu,           &RandomNet::residual,
        &RandomNet::concat,  &RandomNet::split,          &RandomNet::slice,
        &RandomNet::shuffle, &RandomNet::squeeze_excite, &RandomNet::gather,
        &RandomNet::pad,     &RandomNet::channels_last,  &RandomNet::shrink,
        &RandomNet::blocks};
    for (int i = 0; i < layers; ++i) {
      const auto choice = static_cast<size_t>(law_.pick(0, std::ssize(kLayers) - 1));
      values_.push_back((this->*kLayers[choice])(any()));
      if (law_.channels(values_.back()) > kWidest)
        values_.back() = law_.pointwise(values_.back(), law_.pick(2, 6));
    }
    law_.graph.set_outputs({head(values_.back())});
    return law_;
  }

 private:
  using Layer = ValueId (RandomNet::*)(ValueId);
  static constexpr int64_t kSize = 4;
  static constexpr int64_t kWidest = 12;

  /// One of the latest values.
  ValueId any() {
    const int64_t back = std::min<int64_t>(law_.pick(1, 3), std::ssize(values_));
    return values_[values_.size() - static_cast<size_t>(back)];
  }
  int64_t channels(ValueId x) const { return law_.channels(x); }
  ValueId integers(const Integers& values) {
    return law_.graph.add_constant("i", Tensor({std::ssize(values)}, values));
  }
  ValueId reshape(ValueId x, const Integers& target) {
    return law_.node("Reshape", {x, integers(target)});
  }
  ValueId join(std::vector<ValueId> parts) {
    return law_.node("Concat", std::move(parts), {{"axis", int64_t{1}}});
  }

  ValueId conv(ValueId x) { return law_.pointwise(x, law_.pick(2, 8)); }
  ValueId relu(ValueId x) { return law_.node("Relu", {x}); }

  ValueId depthwise(ValueId x) {
    const int64_t multiplier = law_.pick(1, 2), c = channels(x);
    return law_.node("Conv", {x, law_.weight({c * multiplier, 1, 3, 3})},
                     {{"group", c}, {"pads", Integers{1, 1, 1, 1}}});
  }

  ValueId grouped(ValueId x) {
    const int64_t group = channels(x) % 2 == 0 ? 2 : 1;
    return law_.node("Conv", {x, law_.weight({4, channels(x) / group, 1, 1}), law_.weight({4})},
                     {{"group", group}});
  }

  ValueId norm(ValueId x) {
    const int64_t c = channels(x);
    return law_.node("BatchNormalization", {x, law_.weight({c}), law_.weight({c}), law_.weight({c}),
                                            law_.positive_weight({c})});
  }

  ValueId residual(ValueId x) {
    const ValueId other = any();
    return law_.node(
        "Add", {x, channels(other) == channels(x) ? other : law_.pointwise(other, channels(x))});
  }

  ValueId concat(ValueId x) { return join({x, any(), x}); }

  ValueId split(ValueId x) {
    const int64_t c = channels(x), first = law_.pick(1, c - 1);
    const ValueId a =
        law_.node("Split", {x, integers({first, c - first})}, {{"axis", int64_t{1}}}, 2);
    const ValueId b = law_.graph.node(*law_.graph.value(a).producer).outputs[1];
    values_.push_back(law_.pointwise(a, 3));
    return join({b, a});
  }

  ValueId slice(ValueId x) {
    const int64_t c = channels(x), start = law_.pick(0, c - 2), end = law_.pick(start + 2, c);
    return law_.node("Slice", {x, integers({start}), integers({end}), integers({1})});
  }

  ValueId shuffle(ValueId x) {
    const int64_t c = channels(x);
    if (c % 2 != 0) return relu(x);
    const ValueId halves = reshape(x, {-1, 2, c / 2, kSize, kSize});
    const ValueId turned = law_.node("Transpose", {halves}, {{"perm", Integers{0, 2, 1, 3, 4}}});
    return reshape(turned, {-1, c, kSize, kSize});
  }

  ValueId squeeze_excite(ValueId x) {
    const ValueId narrow = relu(law_.pointwise(law_.node("GlobalAveragePool", {x}), 3));
    return law_.node("Mul", {x, law_.node("Sigmoid", {law_.pointwise(narrow, channels(x))})});
  }

  ValueId gather(ValueId x) {
    Integers indices;
    for (int64_t i = 0; i < channels(x); ++i) indices.push_back(law_.pick(0, channels(x) - 1));
    return law_.node("Gather", {x, integers(indices)}, {{"axis", int64_t{1}}});
  }

  ValueId pad(ValueId x) {
    const int64_t before = law_.pick(0, 2);
    return law_.node("Pad", {x, integers({0, before, 0, 0, 0, 3 - before, 0, 0})});
  }

  ValueId channels_last(ValueId x) {
    const ValueId rows = reshape(law_.node("Transpose", {x}, {{"perm", Integers{0, 2, 3, 1}}}),
                                 {0, -1, channels(x)});
    const ValueId mixed = law_.node("MatMul", {rows, law_.weight({channels(x), 5})});
    return law_.node("Transpose", {reshape(mixed, {0, kSize, kSize, 5})},
                     {{"perm", Integers{0, 3, 1, 2}}});
  }

  /// A pass through half the size and back.
  ValueId shrink(ValueId x) {
    const ValueId small = law_.node(
        "AveragePool", {x}, {{"kernel_shape", Integers{2, 2}}, {"strides", Integers{2, 2}}});
    const ValueId none = law_.graph.add_constant("none", Tensor({0}, std::vector<float>{}));
    const ValueId batch =
        law_.node("Slice", {law_.node("Shape", {x}), integers({0}), integers({1})});
    const ValueId sizes =
        law_.node("Concat", {batch, integers({channels(x), kSize, kSize})}, {{"axis", int64_t{0}}});
    return law_.node("Resize", {small, none, none, sizes});
  }

  ValueId blocks(ValueId x) {
    const ValueId deep = law_.node("SpaceToDepth", {x}, {{"blocksize", int64_t{2}}});
    return law_.node("DepthToSpace", {relu(deep)}, {{"blocksize", int64_t{2}}});
  }

  ValueId head(ValueId x) {
    const bool pooled = law_.pick(0, 1) == 0;
    const ValueId flat = law_.node("Flatten", {pooled ? law_.node("GlobalAveragePool", {x}) : x});
    return law_.node("Gemm", {flat, law_.weight({channels(flat), 2}), law_.weight({2})});
  }

  LawGraph law_;
  std::vector<ValueId> values_;
};

TEST(SlotLaw, HoldsForRandomNetworks) {
  constexpr uint32_t kNetworks = 60;
  constexpr int kLayers = 7;
  int groups = 0, effective = 0;
  for (uint32_t seed = 0; seed < kNetworks && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE(seed);
    RandomNet net(seed);
    const LawResult result = check_slot_law(net.grow(kLayers));
    groups += result.free_groups;
    effective += result.effective;
  }
  EXPECT_GT(groups, static_cast<int>(kNetworks) * 5) << "a law about nothing";
  EXPECT_GT(effective, groups / 3) << "groups must matter; a layer may lead nowhere";
}

/// Runs `passes`, a pipeline's list, on random networks; what they make runs and stays near them. A
/// network of which pins leave too little is left alone.
void hold_to_the_original(const std::string& passes, double tolerance, uint32_t networks = 60,
                          int layers = 8) {
  int held = 0;
  for (uint32_t seed = 0; seed < networks; ++seed) {
    SCOPED_TRACE(seed);
    RandomNet net(seed);
    LawGraph& law = net.grow(layers);
    const Graph original = law.graph;
    const Dataset data = Dataset::of({law.normal({24, 3, 4, 4})});
    PassContext context{.data = &data};
    try {
      for (const PassSpec& spec : parse_pipeline_text("passes: [" + passes + "]", "").passes) {
        make_pass(spec)->run(law.graph, context);
        verify(law.graph);
      }
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kUnsupported) << error.what();
      continue;
    }
    const std::vector<Tensor> inputs = data.samples(original, {0, 1, 2, 3});
    const Comparison difference =
        compare_outputs(execute(original, inputs), execute(law.graph, inputs));
    EXPECT_LT(difference.max_relative_error, tolerance);
    ++held;
  }
  EXPECT_GT(held, static_cast<int>(networks) / 2);
}

/// The pass proves by itself that it removed what it meant to.
TEST(PruneChannels, PrunesRandomNetworks) {
  for (const std::string share : {"25", "60"})
    hold_to_the_original("prune-channels: {macs: -" + share + "%, coupled: yes, min-channels: 1}",
                         20, 75, 10);
}

const std::string kClean =
    "fold-constants, fold-batch-norm, remove-identity, fuse-activations, "
    "equalize-layers: {reach: measured}, ";

TEST(QuantizeInt8, RandomNetworksStayNearThemselves) {
  for (const std::string quantize :
       {"quantize-int8", "quantize-int8: {format: qoperator}", "quantize-int8: {profile: dpu}",
        "quantize-int8: {weights: int4, first-last: same}", "quantize-mixed: {average-bits: 5}"}) {
    SCOPED_TRACE(quantize);
    hold_to_the_original(kClean + quantize + ", remove-dead-nodes", 0.5);
  }
}

TEST(Pipelines, PruneAndQuantizeRandomNetworksInAnyOrder) {
  const std::string prune = "prune-channels: {macs: -20%, min-channels: 1, coupled: yes}";
  for (const std::string& passes :
       {kClean + prune + ", quantize-int8", kClean + "quantize-int8, " + prune,
        kClean + "quantize-int8: {format: qoperator}, dequantize, " + prune +
            ", quantize-int8: {profile: dpu}"}) {
    SCOPED_TRACE(passes);
    hold_to_the_original(passes, 5);
  }
}

}  // namespace
}  // namespace pare
