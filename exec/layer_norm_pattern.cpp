#include "exec/layer_norm_pattern.h"

#include <algorithm>
#include <set>
#include <string_view>

#include "exec/activation_pattern.h"

namespace pare {
namespace {

class Matcher {
 public:
  explicit Matcher(const Graph& graph) : graph_(graph) {}

  std::optional<LayerNormPattern> match(NodeId first) {
    if (!is_mean(first)) return {};
    pattern_.norm.x = graph_.node(first).inputs[0];
    pattern_.nodes = {first};
    if (!follow("Sub") || operand(0) != pattern_.norm.x) return {};
    const ValueId centred = result();
    if (!take_square(centred)) return {};
    if (!follow("ReduceMean") || !is_mean(pattern_.nodes.back())) return {};
    if (!follow("Add")) return {};
    const std::optional<float> epsilon = scalar_constant(graph_, other());
    if (!epsilon || !(*epsilon > 0)) return {};
    pattern_.norm.epsilon = *epsilon;
    if (!follow("Sqrt") || !follow("Div") || operand(0) != centred) return {};
    if (!follow("Mul") || !is_vector(other())) return {};
    pattern_.norm.scale = other();
    if (!follow("Add") || !is_vector(other())) return {};
    pattern_.norm.shift = other();
    return std::move(pattern_);
  }

 private:
  const Node& last() const { return graph_.node(pattern_.nodes.back()); }
  ValueId result() const { return last().outputs[0]; }
  ValueId operand(size_t slot) const { return last().inputs[slot]; }

  /// The operand of the last node that the node before it does not make.
  ValueId other() const {
    const ValueId made = graph_.node(pattern_.nodes[pattern_.nodes.size() - 2]).outputs[0];
    return operand(operand(0) == made ? 1 : 0);
  }

  bool is_op(NodeId id, std::string_view op) const {
    const Node& node = graph_.node(id);
    return node.def && node.op == op && node.domain.empty();
  }

  /// Goes on to the node `op`, the only one that uses the last node's result.
  bool follow(std::string_view op) {
    const std::optional<NodeId> user = graph_.sole_user(result());
    if (!user || !is_op(*user, op)) return false;
    pattern_.nodes.push_back(*user);
    return true;
  }

  /// Mean over the last axis, which stays as one element.
  bool is_mean(NodeId id) const {
    const Node& node = graph_.node(id);
    if (!is_op(id, "ReduceMean") || node.attribute<int64_t>("keepdims", 1) != 1) return false;
    auto axes = node.attribute<std::vector<int64_t>>("axes", {});
    if (node.has_input(1)) {  // Since opset 18.
      const Tensor* constant = graph_.constant(node.inputs[1]);
      if (!constant || constant->dtype() != DType::kI64) return false;
      axes.assign(constant->data<int64_t>().begin(), constant->data<int64_t>().end());
    }
    const auto rank = std::ssize(graph_.type(node.inputs[0]).shape);
    return axes.size() == 1 && (axes[0] == -1 || axes[0] == rank - 1);
  }

  /// Goes on to the square of `centred`, which beside it the Div at the end uses.
  bool take_square(ValueId centred) {
    if (graph_.is_output(centred)) return false;
    std::set<NodeId> users;
    for (const Use& use : graph_.value(centred).uses) users.insert(use.node);
    if (users.size() != 2) return false;
    const auto square = std::ranges::find_if(users, [&](NodeId id) {
      const Node& node = graph_.node(id);
      if (is_op(id, "Mul")) return node.inputs[0] == centred && node.inputs[1] == centred;
      return is_op(id, "Pow") && node.inputs[0] == centred &&
             scalar_constant(graph_, node.inputs[1]) == 2.0f;
    });
    if (square == users.end()) return false;
    pattern_.nodes.push_back(*square);
    return true;
  }

  bool is_vector(ValueId id) const {
    const Tensor* constant = graph_.constant(id);
    const Shape& x = graph_.type(pattern_.norm.x).shape;
    return constant && constant->size() == x.back() && constant->shape().back() == x.back() &&
           constant->shape().size() <= x.size();
  }

  const Graph& graph_;
  LayerNormPattern pattern_;
};

}  // namespace

std::optional<LayerNormPattern> layer_norm_pattern(const Graph& graph, NodeId first) {
  return Matcher(graph).match(first);
}

}  // namespace pare
