#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "ir/graph.h"

namespace pare {

/// What became of the nodes and values of a graph on its way through passes.
///
/// Worked out from the graph before and after each step alone: ids name the same thing in both, so
/// no pass has to say what it did. A removed node lives on in the node whose result its users read
/// now, in the node that took its work into its constants, or, where its result became a constant,
/// in those that read it.
class Lineage {
 public:
  /// Everything stands for itself.
  explicit Lineage(const Graph& beginning);

  /// A step took `before`, which the last one ended with, to `after`.
  void follow(const Graph& before, const Graph& after, const std::string& step);

  /// The nodes of the beginning that a node of the graph as it is now stands for, in id order.
  const std::vector<NodeId>& origins(NodeId node) const { return origins_.at(index(node)); }
  /// The step that made the node; empty for one of the beginning.
  const std::string& made_by(NodeId node) const { return made_by_.at(index(node)); }
  /// Nodes of the beginning no node stands for any more, by the step that removed them, in id
  /// order.
  const std::map<NodeId, std::string>& removed() const { return removed_; }

  /// What the users of `value`, or of the model where it is an output, read now instead; empty when
  /// none of them is left.
  const std::optional<ValueId>& heir(ValueId value) const { return heirs_.at(index(value)); }
  /// Which indices of `value` its heir has.
  const Survivors& survivors(ValueId value) const { return survivors_.at(index(value)); }

 private:
  std::vector<std::vector<NodeId>> origins_;  ///< By node.
  std::vector<std::string> made_by_;          ///< By node.
  std::map<NodeId, std::string> removed_;
  std::vector<std::optional<ValueId>> heirs_;  ///< By value of the beginning.
  std::vector<Survivors> survivors_;           ///< By value of the beginning.
};

}  // namespace pare
