// BatchNormalization that stands alone, LayerNormalization, Softmax.

#include "exec/layer_norm_pattern.h"
#include "exec/plan_builder.h"

namespace pare {
namespace {

using Kind = dnnl::prop_kind;

bool lower_batch_norm(PlanBuilder& builder, const FusedNode& group) {
  const Graph& graph = builder.graph();
  const Node& node = graph.node(group.anchor);
  if (node.attribute<int64_t>("training_mode", 0) != 0 || node.has_output(1)) return false;
  for (size_t i = 1; i < 5; ++i) {
    if (!graph.constant(node.inputs[i]) || !builder.is_dense(node.inputs[i])) return false;
  }
  const bool relu = group.post_ops.size() == 1 && group.post_ops[0].kind == PostOp::Kind::kCurve &&
                    group.post_ops[0].curve.kind == Curve::Kind::kRelu &&
                    group.post_ops[0].curve.alpha == 0;
  if (!relu && !group.post_ops.empty()) return false;
  using Norm = dnnl::batch_normalization_forward;
  using Flags = dnnl::normalization_flags;
  const Desc desc = builder.desc_of(node.inputs[0]);
  Flags flags = Flags::use_global_stats | Flags::use_scale | Flags::use_shift;
  if (relu) flags = flags | Flags::fuse_norm_relu;
  const Norm::primitive_desc pd(
      Norm::desc(Kind::forward_inference, desc, node.attribute("epsilon", 1e-5f), flags),
      plain_attributes(), builder.engine(), true);
  if (!pd) return false;
  const SlotId source = builder.slot_in(node.inputs[0], desc);
  std::vector<std::pair<int, SlotId>> arguments = {{DNNL_ARG_SRC, source}};
  constexpr int kArguments[] = {DNNL_ARG_SCALE, DNNL_ARG_SHIFT, DNNL_ARG_MEAN, DNNL_ARG_VARIANCE};
  for (size_t i = 0; i < 4; ++i)
    arguments.emplace_back(kArguments[i], builder.plain_slot(node.inputs[i + 1]));
  std::optional<SlotId> place;
  if (builder.may_overwrite(node.inputs[0], source)) place = source;
  arguments.emplace_back(DNNL_ARG_DST, builder.define(group.output, desc, place));
  builder.add_call({.primitive = Norm(pd), .desc = &pd, .arguments = std::move(arguments)},
                   group.nodes, desc);
  return true;
}

std::optional<LayerNorm> named_layer_norm(const Graph& graph, const Node& node) {
  const auto rank = std::ssize(graph.shape(node.inputs[0]));
  const auto axis = node.attribute<int64_t>("axis", -1);
  if ((axis != -1 && axis != rank - 1) || node.has_output(1) || !node.has_input(2)) return {};
  return LayerNorm{.x = node.inputs[0],
                   .scale = node.inputs[1],
                   .shift = node.inputs[2],
                   .epsilon = node.attribute("epsilon", 1e-5f)};
}

bool lower_layer_norm(PlanBuilder& builder, const FusedNode& group, const LayerNorm& norm) {
  const Graph& graph = builder.graph();
  const Shape& x = graph.shape(norm.x);
  if (x.size() < 2 || x.size() > 5) return false;
  for (const ValueId operand : {norm.scale, norm.shift}) {
    if (!graph.constant(operand) || !builder.is_dense(operand) ||
        graph.constant(operand)->size() != x.back())
      return false;
  }
  using Norm = dnnl::layer_normalization_forward;
  using Flags = dnnl::normalization_flags;
  const Desc desc = plain_desc(x), vector = plain_desc({x.back()});
  const Norm::primitive_desc pd(
      Norm::desc(Kind::forward_inference, desc, norm.epsilon, Flags::use_scale | Flags::use_shift),
      plain_attributes(), builder.engine(), true);
  if (!pd) return false;
  const SlotId source = builder.plain_slot(norm.x);
  builder.add_call(
      {.primitive = Norm(pd),
       .desc = &pd,
       .arguments = {{DNNL_ARG_SRC, source},
                     {DNNL_ARG_SCALE, builder.alias(builder.plain_slot(norm.scale), vector)},
                     {DNNL_ARG_SHIFT, builder.alias(builder.plain_slot(norm.shift), vector)},
                     {DNNL_ARG_DST, builder.define(group.output, desc)}}},
      group.nodes, desc);
  return true;
}

/// Since opset 13 along one axis; before, over the axis and all behind it as one.
bool lower_softmax(PlanBuilder& builder, const FusedNode& group) {
  constexpr int64_t kAlongOneAxis = 13;
  const Graph& graph = builder.graph();
  const Node& node = graph.node(group.anchor);
  const Shape& x = graph.shape(node.inputs[0]);
  const auto rank = static_cast<int64_t>(x.size());
  const bool newer = node.opset >= kAlongOneAxis;
  auto axis = node.attribute<int64_t>("axis", newer ? -1 : 1);
  axis += axis < 0 ? rank : 0;
  if (axis != rank - 1) return false;
  const Desc desc = plain_desc(x);
  using Softmax = dnnl::softmax_forward;
  const Softmax::primitive_desc pd(
      Softmax::desc(Kind::forward_inference, desc, static_cast<int>(axis)), plain_attributes(),
      builder.engine(), true);
  if (!pd) return false;
  const SlotId source = builder.plain_slot(node.inputs[0]);
  std::optional<SlotId> place;
  if (builder.may_overwrite(node.inputs[0], source)) place = source;
  builder.add_call({.primitive = Softmax(pd),
                    .desc = &pd,
                    .arguments = {{DNNL_ARG_SRC, source},
                                  {DNNL_ARG_DST, builder.define(group.output, desc, place)}}},
                   group.nodes, desc);
  return true;
}

}  // namespace

bool lower_normalization(PlanBuilder& builder, const FusedNode& group) {
  const Graph& graph = builder.graph();
  const Node& node = graph.node(group.anchor);
  if (!node.domain.empty() || node.inputs.empty() || !builder.is_dense(node.inputs[0]) ||
      graph.constant(node.inputs[0]) || !builder.is_dense(node.outputs[0]))
    return false;
  if (node.op == "BatchNormalization") return lower_batch_norm(builder, group);
  if (group.layer_norm) return lower_layer_norm(builder, group, *group.layer_norm);
  if (group.nodes.size() > 1) return false;
  if (node.op == "LayerNormalization") {
    const std::optional<LayerNorm> norm = named_layer_norm(graph, node);
    return norm && lower_layer_norm(builder, group, *norm);
  }
  if (node.op == "Softmax") return lower_softmax(builder, group);
  return false;
}

}  // namespace pare
