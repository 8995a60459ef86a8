#pragma once

#include <string>
#include <vector>

#include "ir/graph.h"

namespace pare {

/// The part of a graph that lies between tensors: the nodes that some tensor of `from` leads to and
/// that lead to some tensor of `to`. Without `from` it begins at the inputs and with what constants
/// make, without `to` it ends at the outputs.
class GraphSection {
 public:
  /// Patterns (* and ?) of the names of inputs and computed tensors. Throws Error(kUsage) where one
  /// matches none, and where nothing lies between.
  GraphSection(const Graph& graph, const std::vector<std::string>& from,
               const std::vector<std::string>& to);

  /// True for the nodes between, and for those made since, which only nodes between call for.
  bool holds(NodeId id) const { return index(id) >= inside_.size() || inside_[index(id)]; }
  /// True for a tensor of `from`.
  bool begins_at(ValueId id) const { return index(id) < begins_.size() && begins_[index(id)]; }

 private:
  std::vector<bool> inside_;  ///< By node.
  std::vector<bool> begins_;  ///< By value; none without `from`.
};

}  // namespace pare
