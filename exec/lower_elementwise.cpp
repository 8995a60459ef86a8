// Functions of one operand, and arithmetic of two.

#include <algorithm>

#include "exec/plan_builder.h"

namespace pare {
namespace {

using Algorithm = dnnl::algorithm;
using Kind = dnnl::prop_kind;

/// What a node computes before the post-operations: the first curve of a chain.
struct FirstCurve {
  Algorithm algorithm;
  float alpha = 0, beta = 0;
};

FirstCurve first_curve(const Curve& curve) {
  dnnl::post_ops ops = post_ops_of({curve});
  FirstCurve first{};
  float scale = 1;
  ops.get_params_eltwise(0, scale, first.algorithm, first.alpha, first.beta);
  return first;
}

bool lower_curves(PlanBuilder& builder, const FusedNode& group) {
  const Graph& graph = builder.graph();
  const Node& node = graph.node(group.anchor);
  const std::vector<Curve> curves = curves_of(graph, node);
  if (curves.empty()) return false;
  // Of two operands the number is a constant.
  const ValueId input =
      node.inputs.size() == 2 && graph.constant(node.inputs[0]) ? node.inputs[1] : node.inputs[0];
  if (!builder.is_dense(input) || graph.constant(input)) return false;
  const Desc desc = builder.desc_of(input);
  const SlotId source = builder.slot_in(input, desc);
  FusedNode rest = group;
  for (size_t i = curves.size(); i-- > 1;)
    rest.post_ops.insert(rest.post_ops.begin(), {.kind = PostOp::Kind::kCurve, .curve = curves[i]});
  const std::optional<PostOps> post = PostOps::build(builder, rest, desc, {source});
  if (!post) return false;
  const FirstCurve first = first_curve(curves[0]);
  using Eltwise = dnnl::eltwise_forward;
  const Eltwise::primitive_desc pd(
      Eltwise::desc(Kind::forward_inference, first.algorithm, desc, first.alpha, first.beta),
      post->attributes(), builder.engine(), true);
  if (!pd || !is_fast(pd)) return false;
  std::optional<SlotId> place = post->in_place();
  if (!place && builder.may_overwrite(input, source)) place = source;
  std::vector<std::pair<int, SlotId>> arguments = post->arguments();
  arguments.emplace_back(DNNL_ARG_SRC, source);
  arguments.emplace_back(DNNL_ARG_DST, builder.define(group.output, desc, place));
  builder.add_call({.primitive = Eltwise(pd), .desc = &pd, .arguments = std::move(arguments)},
                   group.nodes, desc);
  return true;
}

std::optional<Algorithm> binary_algorithm(const Node& node) {
  if (!node.domain.empty() || node.inputs.size() != 2) return {};
  if (node.op == "Add") return Algorithm::binary_add;
  if (node.op == "Sub") return Algorithm::binary_sub;
  if (node.op == "Mul") return Algorithm::binary_mul;
  if (node.op == "Div") return Algorithm::binary_div;
  if (node.op == "Max") return Algorithm::binary_max;
  if (node.op == "Min") return Algorithm::binary_min;
  return {};
}

/// The operand that is broadcast in a layout oneDNN takes: with as many axes as the other.
std::optional<SlotId> broadcast_slot(PlanBuilder& builder, ValueId id, size_t rank) {
  const Shape& shape = builder.graph().shape(id);
  Shape wide(rank - shape.size(), 1);
  wide.insert(wide.end(), shape.begin(), shape.end());
  return builder.alias(builder.plain_slot(id), plain_desc(wide));
}

}  // namespace

bool lower_elementwise(PlanBuilder& builder, const FusedNode& group) {
  const Graph& graph = builder.graph();
  const Node& node = graph.node(group.anchor);
  if (lower_curves(builder, group)) return true;
  const std::optional<Algorithm> algorithm = binary_algorithm(node);
  if (!algorithm) return false;
  ValueId a = node.inputs[0], b = node.inputs[1];
  if (!builder.is_dense(a) || !builder.is_dense(b) || !builder.is_dense(node.outputs[0]))
    return false;
  const Shape& y = graph.shape(node.outputs[0]);
  const bool ordered = *algorithm == Algorithm::binary_sub || *algorithm == Algorithm::binary_div;
  if (graph.shape(a) != y || graph.constant(a)) {
    if (ordered) return false;
    std::swap(a, b);
  }
  if (graph.shape(a) != y || graph.constant(a)) return false;
  const Desc desc = builder.common_desc(a, b);
  const SlotId left = builder.slot_in(a, desc);
  const bool same = graph.shape(b) == y;
  const SlotId right = same ? builder.slot_in(b, desc) : *broadcast_slot(builder, b, y.size());
  const std::optional<PostOps> post = PostOps::build(builder, group, desc, {left, right});
  if (!post) return false;
  const dnnl::binary::primitive_desc pd(
      dnnl::binary::desc(*algorithm, desc, builder.slot(right).desc, desc), post->attributes(),
      builder.engine(), true);
  if (!pd || !is_fast(pd)) return false;
  std::optional<SlotId> place = post->in_place();
  if (!place && builder.may_overwrite(a, left) && !builder.shares(left, {right})) place = left;
  std::vector<std::pair<int, SlotId>> arguments = post->arguments();
  arguments.insert(arguments.end(), {{DNNL_ARG_SRC_0, left}, {DNNL_ARG_SRC_1, right}});
  arguments.emplace_back(DNNL_ARG_DST, builder.define(group.output, desc, place));
  builder.add_call({.primitive = dnnl::binary(pd), .desc = &pd, .arguments = std::move(arguments)},
                   group.nodes, desc);
  return true;
}

}  // namespace pare
