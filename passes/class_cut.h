#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "passes/class_axes.h"

namespace pare {

/// Which groups of channel slots go when a model keeps some of its classes.
///
/// Outputs that hold the same classes as the axes found (probabilities beside logits, levels that
/// share a head) shrink along; any other output, and every index beside the classes, stays. The
/// graph must outlive the cut and keep its revision. Throws Error(kUnsupported) naming what holds
/// on to a class: a node, the model's inputs, weights a kept class shares, or a tensor that would
/// be left with nothing.
class ClassCut {
 public:
  ClassCut(const Graph& graph, const std::vector<ClassAxis>& axes, std::vector<int64_t> kept);

  const ChannelSlots& slots() const { return slots_; }
  std::function<bool(uint32_t)> doomed() const {
    return [this](uint32_t group) { return doomed_.contains(group); };
  }
  /// Names of the outputs that shrink.
  const std::vector<std::string>& outputs() const { return outputs_; }

 private:
  bool keeps(int64_t c) const;
  ChannelSlots analyze(const Graph& graph, const std::vector<ClassAxis>& axes);
  void doom(const Graph& graph, const ClassAxis& axis, const std::set<uint32_t>& staying);
  void check_left(const Graph& graph) const;

  std::vector<int64_t> kept_;
  std::vector<std::string> outputs_;  ///< analyze(), which makes slots_, fills it.
  ChannelSlots slots_;
  std::set<uint32_t> doomed_;
};

}  // namespace pare
