// Gemm and MatMul, with what follows them.

#include "exec/plan_builder.h"

namespace pare {
namespace {

using Kind = dnnl::prop_kind;

/// y [rows, outputs] = x [rows, inputs] W + b with constant W.
struct Product {
  ValueId input = kNoValue;
  int64_t rows = 0, inputs = 0, outputs = 0;
  ValueId weights = kNoValue, bias = kNoValue;
  Shape weight_strides;  ///< Of [outputs, inputs].

  Desc weight_desc() const { return strided_desc({outputs, inputs}, weight_strides); }
  /// One row meets each weight once: it takes the time of reading them, in whatever order they are.
  bool packs() const { return rows > 1; }
};

/// A constant whose elements are one for each output.
bool is_bias(const PlanBuilder& builder, ValueId id, int64_t outputs) {
  const Tensor* tensor = builder.graph().constant(id);
  return tensor && builder.is_dense(id) && tensor->size() == outputs &&
         tensor->shape().back() == outputs;
}

std::optional<Product> product_of(const PlanBuilder& builder, const Node& node) {
  const Graph& graph = builder.graph();
  if (!node.domain.empty() || (node.op != "Gemm" && node.op != "MatMul")) return {};
  if (!builder.is_dense(node.inputs[0]) || !builder.is_dense(node.outputs[0])) return {};
  Product p{.input = node.inputs[0], .weights = node.inputs[1]};
  const Shape &x = graph.shape(p.input), &w = graph.shape(p.weights);
  if (!graph.constant(p.weights) || !builder.is_dense(p.weights) || w.size() != 2) return {};
  const bool transposed = node.attribute<int64_t>("transB", 0) != 0;
  if (node.op == "Gemm") {
    if (node.attribute<int64_t>("transA", 0) != 0 || node.attribute("alpha", 1.0f) != 1) return {};
    if (node.has_input(2)) {
      if (node.attribute("beta", 1.0f) != 1) return {};
      p.bias = node.inputs[2];
    }
  }
  p.inputs = w[transposed ? 1 : 0];
  p.outputs = w[transposed ? 0 : 1];
  p.weight_strides = transposed ? Shape{p.inputs, 1} : Shape{1, p.outputs};
  p.rows = element_count(x) / p.inputs;
  if (p.bias != kNoValue && !is_bias(builder, p.bias, p.outputs)) return {};
  return p;
}

using InnerProduct = dnnl::inner_product_forward;

InnerProduct::primitive_desc describe_product(const PlanBuilder& builder, const Product& p,
                                              bool bias, const dnnl::primitive_attr& attributes) {
  const InnerProduct::desc desc(Kind::forward_inference, plain_desc({p.rows, p.inputs}),
                                p.packs() ? any_desc({p.outputs, p.inputs}) : p.weight_desc(),
                                bias ? plain_desc({p.outputs}) : Desc(),
                                plain_desc({p.rows, p.outputs}));
  return {desc, attributes, builder.engine(), true};
}

/// Leading axes of a batch of matrices, all ones where the operand is broadcast.
Shape batched(const Shape& shape, size_t rank) {
  Shape wide(rank - shape.size(), 1);
  wide.insert(wide.end(), shape.begin(), shape.end());
  return wide;
}

}  // namespace

bool lower_inner_product(PlanBuilder& builder, const FusedNode& group) {
  const Graph& graph = builder.graph();
  std::optional<Product> p = product_of(builder, graph.node(group.anchor));
  if (!p) return false;
  FusedNode rest = group;
  if (p->bias == kNoValue && !rest.post_ops.empty() &&
      rest.post_ops[0].kind == PostOp::Kind::kAdd &&
      is_bias(builder, rest.post_ops[0].operand, p->outputs)) {
    p->bias = rest.post_ops[0].operand;
    rest.post_ops.erase(rest.post_ops.begin());
  }
  const Desc result = plain_desc({p->rows, p->outputs});
  const std::optional<SlotId> source =
      builder.slot_like(p->input, plain_desc({p->rows, p->inputs}));
  if (!source) return false;
  const std::optional<PostOps> post = PostOps::build(builder, rest, result, {*source});
  if (!post) return false;
  const bool bias = p->bias != kNoValue;
  const auto pd = describe_product(builder, *p, bias, post->attributes());
  if (!pd) return false;
  std::vector<std::pair<int, SlotId>> arguments = post->arguments();
  arguments.emplace_back(DNNL_ARG_SRC, *source);
  arguments.emplace_back(
      DNNL_ARG_WEIGHTS,
      p->packs() ? builder.pack(*graph.constant(p->weights), p->weight_desc(), pd.weights_desc())
                 : builder.alias(builder.plain_slot(p->weights), p->weight_desc()));
  if (bias)
    arguments.emplace_back(DNNL_ARG_BIAS,
                           builder.alias(builder.plain_slot(p->bias), plain_desc({p->outputs})));
  const SlotId made =
      builder.define(group.output, plain_desc(graph.shape(group.output)), post->in_place());
  arguments.emplace_back(DNNL_ARG_DST, builder.alias(made, result));
  builder.add_call({.primitive = InnerProduct(pd), .desc = &pd, .arguments = std::move(arguments)},
                   group.nodes, result);
  return true;
}

bool lower_matmul(PlanBuilder& builder, const FusedNode& group) {
  const Graph& graph = builder.graph();
  const Node& node = graph.node(group.anchor);
  if (!node.domain.empty() || node.op != "MatMul") return false;
  const ValueId a = node.inputs[0], b = node.inputs[1];
  if (!builder.is_dense(a) || !builder.is_dense(b) || !builder.is_dense(group.output)) return false;
  const Shape& y = graph.shape(group.output);
  const size_t rank = y.size();
  if (rank < 2 || graph.shape(a).size() < 2 || graph.shape(b).size() < 2) return false;
  const Desc left = plain_desc(batched(graph.shape(a), rank));
  const Desc right = plain_desc(batched(graph.shape(b), rank)), result = plain_desc(y);
  const SlotId x = builder.alias(builder.plain_slot(a), left);
  const SlotId w = builder.alias(builder.plain_slot(b), right);
  const std::optional<PostOps> post = PostOps::build(builder, group, result, {x, w});
  if (!post) return false;
  const dnnl::matmul::primitive_desc pd(dnnl::matmul::desc(left, right, result), post->attributes(),
                                        builder.engine(), true);
  if (!pd) return false;
  std::vector<std::pair<int, SlotId>> arguments = post->arguments();
  arguments.insert(arguments.end(), {{DNNL_ARG_SRC, x}, {DNNL_ARG_WEIGHTS, w}});
  arguments.emplace_back(DNNL_ARG_DST, builder.define(group.output, result, post->in_place()));
  builder.add_call({.primitive = dnnl::matmul(pd), .desc = &pd, .arguments = std::move(arguments)},
                   group.nodes, result);
  return true;
}

}  // namespace pare
