#include "exec/fusion.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include "exec/activation_pattern.h"
#include "exec/layer_norm_pattern.h"
#include "exec/quantized.h"

namespace pare {
namespace {

constexpr size_t kMostPostOps = 8;

bool is_op(const Node& node, std::string_view op) { return node.op == op && node.domain.empty(); }

/// x + c, x - c, c - x, x * c and x / c with a number c.
std::vector<Curve> linear_of(const Graph& graph, const Node& node) {
  const std::optional<float> left = scalar_constant(graph, node.inputs[0]);
  const std::optional<float> right = scalar_constant(graph, node.inputs[1]);
  if (left.has_value() == right.has_value()) return {};
  const ValueId x = node.inputs[right ? 0 : 1];
  if (graph.type(x).shape != graph.type(node.outputs[0]).shape) return {};
  const float c = right ? *right : *left;
  if (node.op == "Add") return {{Curve::Kind::kLinear, 1, c}};
  if (node.op == "Mul") return {{Curve::Kind::kLinear, c, 0}};
  if (node.op == "Sub") return {{Curve::Kind::kLinear, right ? 1.0f : -1.0f, right ? -c : c}};
  return {};  // A division rounds otherwise than a product.
}

std::optional<Curve> named_curve(const Node& node) {
  using Kind = Curve::Kind;
  if (node.op == "Relu") return Curve{Kind::kRelu};
  if (node.op == "LeakyRelu") return Curve{Kind::kRelu, node.attribute("alpha", 0.01f)};
  if (node.op == "Sigmoid") return Curve{Kind::kSigmoid};
  if (node.op == "Tanh") return Curve{Kind::kTanh};
  if (node.op == "Elu") return Curve{Kind::kElu, node.attribute("alpha", 1.0f)};
  if (node.op == "Swish") return Curve{Kind::kSwish, node.attribute("alpha", 1.0f)};
  if (node.op == "HardSwish") return Curve{Kind::kHardSwish};
  if (node.op == "Gelu")
    return Curve{node.attribute("approximate", "none") == "tanh" ? Kind::kGeluTanh
                                                                 : Kind::kGeluErf};
  if (node.op == "Mish") return Curve{Kind::kMish};
  if (node.op == "Abs") return Curve{Kind::kAbs};
  if (node.op == "Exp") return Curve{Kind::kExp};
  if (node.op == "Sqrt") return Curve{Kind::kSqrt};
  if (node.op == "Neg") return Curve{Kind::kLinear, -1, 0};
  return {};
}

class Fuser {
 public:
  Fuser(const Graph& graph, const std::vector<bool>& kept)
      : graph_(graph), kept_(kept), taken_(graph.node_count()), position_(graph.node_count()) {
    for (size_t i = 0; i < graph.order().size(); ++i) {
      const NodeId id = graph.order()[i];
      position_[index(id)] = i;
      if (std::optional<ActivationPattern> pattern = activation_pattern(graph, id))
        patterns_.emplace(pattern->x, std::move(*pattern));
    }
  }

  std::vector<FusedNode> run() {
    std::vector<FusedNode> groups;
    for (NodeId id : graph_.order()) {
      if (taken_[index(id)]) continue;
      groups.push_back(grow(id));
      for (NodeId member : groups.back().nodes) taken_[index(member)] = true;
    }
    std::ranges::stable_sort(
        groups, {}, [&](const FusedNode& group) { return position_[index(group.nodes.back())]; });
    drop_unneeded(groups);
    return groups;
  }

 private:
  using Uses = std::vector<Use>;

  void drop_unneeded(std::vector<FusedNode>& groups) const {
    std::vector<bool> needed = kept_;
    for (ValueId output : graph_.outputs()) needed[index(output)] = true;
    const auto is_needed = [&](const FusedNode& group) {
      return std::ranges::any_of(group.nodes, [&](NodeId id) {
        return std::ranges::any_of(graph_.node(id).outputs, [&](ValueId output) {
          return output != kNoValue && needed[index(output)];
        });
      });
    };
    std::vector<FusedNode> alive;
    for (auto group = groups.rbegin(); group != groups.rend(); ++group) {
      if (!is_needed(*group)) continue;
      for (ValueId read : group->reads(graph_)) needed[index(read)] = true;
      alive.push_back(std::move(*group));
    }
    std::ranges::reverse(alive);
    groups = std::move(alive);
  }

  std::optional<FusedNode> quantized_group(NodeId id) const {
    std::optional<QuantizedNode> found = quantized_node(graph_, id, kept_);
    if (!found || std::ranges::any_of(found->nodes, [&](NodeId n) { return taken_[index(n)]; }))
      return {};
    FusedNode group{.anchor = id, .nodes = found->nodes, .post_ops = {}};
    group.output = graph_.node(found->nodes.back()).outputs[0];
    group.quantized = std::make_shared<const QuantizedNode>(std::move(*found));
    return group;
  }

  std::optional<FusedNode> layer_norm_group(NodeId id) const {
    std::optional<LayerNormPattern> found = layer_norm_pattern(graph_, id);
    if (!found || !are_free(found->nodes)) return {};
    FusedNode group{.anchor = id, .nodes = std::move(found->nodes), .post_ops = {}};
    group.output = graph_.node(group.nodes.back()).outputs[0];
    if (!fits(found->norm.x) || !fits(group.output)) return {};
    group.layer_norm = std::make_shared<const LayerNorm>(found->norm);
    return group;
  }

  /// None is in a group, and of their results only the last one's is wanted.
  bool are_free(const std::vector<NodeId>& nodes) const {
    return std::ranges::all_of(nodes, [&](NodeId id) {
      return !taken_[index(id)] && (id == nodes.back() || is_inner(graph_.node(id).outputs[0]));
    });
  }

  static bool takes_post_ops(const Node& node) {
    if (!node.domain.empty()) return false;
    static constexpr std::string_view kOps[] = {"Conv", "ConvTranspose", "Gemm", "MatMul",
                                                "Add",  "Mul",           "Sub"};
    return std::ranges::find(kOps, node.op) != std::end(kOps);
  }

  FusedNode grow(NodeId anchor) {
    if (std::optional<FusedNode> quantized = quantized_group(anchor)) return std::move(*quantized);
    if (std::optional<FusedNode> norm = layer_norm_group(anchor)) return std::move(*norm);
    const Node& node = graph_.node(anchor);
    FusedNode group{.anchor = anchor, .nodes = {anchor}, .post_ops = {}};
    group.output = node.outputs.empty() ? kNoValue : node.outputs[0];
    if (!fits(group.output)) return group;
    if (takes_post_ops(node)) {
      take_batch_norm(group);
    } else if (curves_of(graph_, node).empty() && !is_op(node, "BatchNormalization")) {
      return group;
    }
    while (group.post_ops.size() < kMostPostOps && extend(group)) {
    }
    return group;
  }

  bool fits(ValueId id) const {
    return id != kNoValue && graph_.type(id).dtype == DType::kF32 && graph_.type(id).known();
  }

  /// The result may be replaced by what follows from it.
  bool is_inner(ValueId id) const { return !kept_[index(id)] && !graph_.is_output(id); }

  void take_batch_norm(FusedNode& group) {
    const std::string& op = graph_.node(group.anchor).op;
    if ((op != "Conv" && op != "ConvTranspose") || !is_inner(group.output)) return;
    const std::optional<NodeId> user = graph_.sole_user(group.output);
    if (!user || !is_op(graph_.node(*user), "BatchNormalization")) return;
    const Node& norm = graph_.node(*user);
    if (norm.inputs[0] != group.output || norm.attribute<int64_t>("training_mode", 0) != 0) return;
    for (size_t i = 1; i < 5; ++i) {
      const Tensor* tensor = graph_.constant(norm.inputs[i]);
      if (!tensor || tensor->dtype() != DType::kF32) return;
    }
    group.batch_norm = *user;
    absorb(group, {*user});
  }

  void absorb(FusedNode& group, const std::vector<NodeId>& nodes) {
    for (NodeId id : nodes) {
      group.nodes.push_back(id);
      taken_[index(id)] = true;
    }
    group.output = graph_.node(nodes.back()).outputs[0];
  }

  bool extend(FusedNode& group) {
    if (!is_inner(group.output)) return false;
    const Uses& uses = graph_.value(group.output).uses;
    if (uses.size() > 1) return take_pattern(group);
    if (uses.size() != 1 || taken_[index(uses[0].node)]) return false;
    const NodeId user = uses[0].node;
    const Node& node = graph_.node(user);
    if (node.outputs.size() != 1 || !fits(node.outputs[0])) return false;
    const std::vector<Curve> curves = curves_of(graph_, node);
    if (!curves.empty() && node.inputs[uses[0].slot] == group.output) {
      for (const Curve& curve : curves)
        group.post_ops.push_back({.kind = PostOp::Kind::kCurve, .curve = curve});
      absorb(group, {user});
      return true;
    }
    return take_binary(group, user, uses[0].slot);
  }

  bool take_binary(FusedNode& group, NodeId user, uint32_t slot) {
    const Node& node = graph_.node(user);
    const bool add = is_op(node, "Add");
    if (!add && !is_op(node, "Mul")) return false;
    const ValueId other = node.inputs[1 - slot];
    if (!fits(other) || graph_.shape(node.outputs[0]) != graph_.shape(group.output)) return false;
    const std::optional<NodeId> producer = graph_.value(other).producer;
    // The one of two operands that comes last takes the addition in.
    if (producer && position_[index(*producer)] > position_[index(group.nodes.back())])
      return false;
    if (!graph_.constant(other) && graph_.shape(other) != graph_.shape(group.output)) return false;
    group.post_ops.push_back(
        {.kind = add ? PostOp::Kind::kAdd : PostOp::Kind::kMul, .operand = other});
    absorb(group, {user});
    return true;
  }

  /// An activation spelled in several nodes, all of them free and nothing of it wanted by itself.
  bool take_pattern(FusedNode& group) {
    const auto found = patterns_.find(group.output);
    if (found == patterns_.end()) return false;
    const ActivationPattern& pattern = found->second;
    const auto is_member = [&](NodeId id) {
      return std::ranges::find(pattern.nodes, id) != pattern.nodes.end();
    };
    for (const Use& use : graph_.value(group.output).uses) {
      if (!is_member(use.node)) return false;
    }
    if (!are_free(pattern.nodes) || !fits(graph_.node(pattern.nodes.back()).outputs[0]))
      return false;
    group.post_ops.push_back({.kind = PostOp::Kind::kCurve, .curve = pattern.curve});
    absorb(group, pattern.nodes);
    return true;
  }

  const Graph& graph_;
  const std::vector<bool>& kept_;
  std::vector<bool> taken_;
  std::vector<size_t> position_;                   ///< By node.
  std::map<ValueId, ActivationPattern> patterns_;  ///< By what they are applied to.
};

}  // namespace

std::vector<ValueId> FusedNode::reads(const Graph& graph) const {
  std::vector<ValueId> reads;
  if (quantized) {
    for (const StoredValue& input : quantized->inputs) reads.push_back(input.id);
    return reads;
  }
  for (NodeId id : nodes) {
    for (ValueId input : graph.node(id).inputs) {
      if (input != kNoValue) reads.push_back(input);
    }
  }
  return reads;
}

std::vector<Curve> curves_of(const Graph& graph, const Node& node) {
  const bool known = node.domain.empty() || (node.domain == "com.microsoft" && node.op == "Gelu");
  if (!known || !node.def || node.inputs.empty() || node.inputs[0] == kNoValue) return {};
  if (graph.type(node.inputs[0]).dtype != DType::kF32) return {};
  if (node.op == "Clip") {
    const std::optional<Curve> clip = clip_curve(graph, node);
    return clip ? std::vector{*clip} : std::vector<Curve>{};
  }
  if (node.op == "HardSigmoid")
    return {{Curve::Kind::kLinear, node.attribute("alpha", 0.2f), node.attribute("beta", 0.5f)},
            {Curve::Kind::kClip, 0, 1}};
  if (node.inputs.size() == 2 && (node.op == "Add" || node.op == "Sub" || node.op == "Mul"))
    return linear_of(graph, node);
  if (const std::optional<Curve> curve = named_curve(node)) return {*curve};
  return {};
}

std::vector<FusedNode> fuse(const Graph& graph, const std::vector<bool>& kept) {
  return Fuser(graph, kept).run();
}

}  // namespace pare
