#include "exec/plan_builder.h"

namespace pare {
namespace {

using Algorithm = dnnl::algorithm;

void append_curve(dnnl::post_ops& ops, const Curve& curve) {
  using Kind = Curve::Kind;
  const auto eltwise = [&](Algorithm algorithm, float alpha = 0, float beta = 0) {
    ops.append_eltwise(1.0f, algorithm, alpha, beta);
  };
  switch (curve.kind) {
    case Kind::kRelu:
      return eltwise(Algorithm::eltwise_relu, curve.alpha);
    case Kind::kClip:
      return eltwise(Algorithm::eltwise_clip, curve.alpha, curve.beta);
    case Kind::kSigmoid:
      return eltwise(Algorithm::eltwise_logistic);
    case Kind::kTanh:
      return eltwise(Algorithm::eltwise_tanh);
    case Kind::kElu:
      return eltwise(Algorithm::eltwise_elu, curve.alpha);
    case Kind::kSwish:
      return eltwise(Algorithm::eltwise_swish, curve.alpha);
    case Kind::kHardSwish:
      return eltwise(Algorithm::eltwise_hardswish);
    case Kind::kGeluErf:
      return eltwise(Algorithm::eltwise_gelu_erf);
    case Kind::kGeluTanh:
      return eltwise(Algorithm::eltwise_gelu_tanh);
    case Kind::kMish:
      return eltwise(Algorithm::eltwise_mish);
    case Kind::kLinear:
      return eltwise(Algorithm::eltwise_linear, curve.alpha, curve.beta);
    case Kind::kAbs:
      return eltwise(Algorithm::eltwise_abs);
    case Kind::kExp:
      return eltwise(Algorithm::eltwise_exp);
    case Kind::kRound:
      return eltwise(Algorithm::eltwise_round);
    case Kind::kSqrt:
      return eltwise(Algorithm::eltwise_sqrt);
  }
}

}  // namespace

dnnl::post_ops post_ops_of(const std::vector<Curve>& curves) {
  dnnl::post_ops ops;
  for (const Curve& curve : curves) append_curve(ops, curve);
  return ops;
}

namespace {

/// A constant's layout with axes of extent 1 put in front, so that it has `rank` axes.
std::optional<Desc> widened(const Shape& shape, int rank) {
  if (static_cast<int>(shape.size()) > rank) return {};
  Shape wide(static_cast<size_t>(rank) - shape.size(), 1);
  wide.insert(wide.end(), shape.begin(), shape.end());
  return plain_desc(wide);
}

}  // namespace

std::optional<PostOps> PostOps::build(PlanBuilder& builder, const FusedNode& group,
                                      const Desc& result, const std::vector<SlotId>& sources) {
  PostOps post;
  const auto binary = [&](const PostOp& op, const Desc& desc, SlotId slot) {
    const int number = post.ops_.len();
    post.ops_.append_binary(
        op.kind == PostOp::Kind::kAdd ? Algorithm::binary_add : Algorithm::binary_mul, desc);
    post.arguments_.emplace_back(DNNL_ARG_ATTR_MULTIPLE_POST_OP(number) | DNNL_ARG_SRC_1, slot);
  };
  for (const PostOp& op : group.post_ops) {
    if (op.kind == PostOp::Kind::kCurve) {
      append_curve(post.ops_, op.curve);
      continue;
    }
    if (!builder.is_dense(op.operand)) return {};
    if (const Tensor* constant = builder.graph().constant(op.operand)) {
      const std::optional<Desc> desc = widened(constant->shape(), result.data.ndims);
      if (!desc) return {};
      binary(op, *desc, builder.alias(builder.plain_slot(op.operand), *desc));
      continue;
    }
    if (builder.graph().shape(op.operand) != builder.graph().shape(group.output)) return {};
    const std::optional<SlotId> slot = builder.slot_like(op.operand, result);
    if (!slot) return {};
    const bool first = !post.in_place_ && op.kind == PostOp::Kind::kAdd;
    if (first && builder.may_overwrite(op.operand, *slot) && !builder.shares(*slot, sources)) {
      post.ops_.append_sum(1.0f);
      post.in_place_ = slot;
    } else {
      binary(op, result, *slot);
    }
  }
  return post;
}

dnnl::primitive_attr PostOps::attributes() const {
  dnnl::primitive_attr attributes = plain_attributes();
  attributes.set_post_ops(ops_);
  return attributes;
}

}  // namespace pare
