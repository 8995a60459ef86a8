#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "ir/channel_slots.h"

namespace pare {

/// A graph to test a tie rule in, with random weights; deterministic for a seed.
class LawGraph {
 public:
  explicit LawGraph(uint32_t seed, int64_t opset = 17);

  Graph graph;

  /// Uniform in [low, high].
  int64_t pick(int64_t low, int64_t high);
  /// Normally distributed elements.
  Tensor normal(Shape shape);
  ValueId input(Shape shape);
  /// With a symbolic first axis; the law is then checked at another batch than the bound one.
  ValueId batch_input(Shape shape);
  ValueId weight(Shape shape);
  /// A positive one, for variances.
  ValueId positive_weight(Shape shape);
  ValueId node(std::string_view op, std::vector<ValueId> inputs, Attributes attributes = {},
               size_t outputs = 1);
  /// A 1x1 Conv from the channels of `x` to `channels`, with bias.
  ValueId pointwise(ValueId x, int64_t channels);
  const Shape& shape(ValueId id) const { return graph.shape(id); }
  int64_t channels(ValueId id) const { return shape(id)[1]; }

 private:
  std::mt19937 random_;
};

/// What check_slot_law() looked at.
struct LawResult {
  int free_groups = 0;  ///< Groups of constant slices that were removed.
  int effective = 0;    ///< Those of them whose zeroing changes the output.
};

/// The law every tie rule is held to: removing a group of slots computes what the graph computes
/// with all constant slices of the group zeroed. Tries each group by itself that is not pinned and
/// whose removal empties no axis, then a few mixtures of them; fails the running test where the two
/// differ. Outputs must be pinned, inputs are drawn at random.
LawResult check_slot_law(LawGraph& law);

}  // namespace pare
