// Every structure that channels are coupled by in real networks, pruned end to end: measured,
// chosen, proven against the masked original (the pass does that itself), fitted.

#include <gtest/gtest.h>

#include "cost/cost.h"
#include "exec/interpreter.h"
#include "passes/prune_channels.h"
#include "pruning_structures.h"

namespace pare {
namespace {

class PruneStructures : public testing::TestWithParam<Structure> {};

TEST_P(PruneStructures, GiveUpChannelsAndStayNearTheOriginal) {
  StructureBuilder b;
  GetParam().build(b);
  const Graph original = b.graph;
  const auto macs = [](const Graph& graph) {
    return static_cast<double>(estimate_cost(graph, {}).totals.macs);
  };
  const Dataset data = random_images(64, 3, 8);
  PassContext context{.data = &data, .threads = 2};
  make_prune_channels({.budget = {.amount = 0.08},
                       .coupled = PruneCoupled::kYes,
                       .min_channels = 2,
                       .include = GetParam().pruned})
      ->run(b.graph, context);
  verify(b.graph);
  EXPECT_LE(macs(b.graph), 0.92 * macs(original));
  EXPECT_LT(weight_of(b.graph, GetParam().follows).size(),
            weight_of(original, GetParam().follows).size());
  const Tensor x = random_tensor({8, 3, 8, 8}, 5);
  const std::vector<Tensor> before = execute(original, {x}), after = execute(b.graph, {x});
  for (size_t i = 0; i < before.size(); ++i)
    EXPECT_LT(relative_difference(before[i], after[i]), 0.5) << "output " << i;
}

/// Everything at once, by every way to choose, as far as the pins allow.
TEST_P(PruneStructures, GiveUpWhatTheyCanByEveryMethod) {
  for (const PruneMethod method : {PruneMethod::kObs, PruneMethod::kL2}) {
    for (const bool with_data : {true, false}) {
      StructureBuilder b;
      GetParam().build(b);
      const Dataset data = random_images(32, 3, 8);
      PassContext context{.data = with_data ? &data : nullptr, .threads = 1};
      try {
        make_prune_channels({.budget = {.amount = 0.5},
                             .method = method,
                             .coupled = PruneCoupled::kYes,
                             .min_channels = 1})
            ->run(b.graph, context);
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::kUsage) << error.what();  // Pins leave too little.
      }
      verify(b.graph);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, PruneStructures, testing::ValuesIn(pruning_structures()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace pare
