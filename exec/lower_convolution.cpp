// Conv and ConvTranspose, with what follows them.

#include <cmath>

#include "exec/conv_geometry.h"

namespace pare {
namespace {

using Algorithm = dnnl::algorithm;
using Kind = dnnl::prop_kind;

/// Scale and shift of a BatchNormalization, by channel.
struct Affine {
  std::vector<float> scale, shift;
};

Affine affine_of(const Graph& graph, const Node& norm) {
  const auto data = [&](size_t i) { return graph.constant(norm.inputs[i])->data<float>(); };
  const float epsilon = norm.attribute("epsilon", 1e-5f);
  Affine affine;
  for (size_t c = 0; c < data(1).size(); ++c) {
    affine.scale.push_back(data(1)[c] / std::sqrt(data(4)[c] + epsilon));
    affine.shift.push_back(data(2)[c] - data(3)[c] * affine.scale[c]);
  }
  return affine;
}

bool is_convolution(const PlanBuilder& builder, const Node& node) {
  const Graph& graph = builder.graph();
  return node.domain.empty() && (node.op == "Conv" || node.op == "ConvTranspose") &&
         builder.is_dense(node.inputs[0]) && graph.constant(node.inputs[1]) &&
         builder.is_dense(node.inputs[1]) && builder.is_dense(node.outputs[0]) &&
         (!node.has_input(2) || graph.constant(node.inputs[2]));
}

template <typename Primitive>
typename Primitive::primitive_desc describe_primitive(const PlanBuilder& builder,
                                                      const ConvGeometry& g, Algorithm algorithm,
                                                      const Desc& source, const Desc& bias,
                                                      const Desc& result,
                                                      const dnnl::primitive_attr& attributes) {
  const Desc weights = any_desc(g.weight_dims);
  const typename Primitive::desc desc(Kind::forward_inference, algorithm, source, weights, bias,
                                      result, g.strides, g.dilations, g.pad_begin, g.pad_end);
  return typename Primitive::primitive_desc(desc, attributes, builder.engine(), true);
}

/// Weights and bias with the BatchNormalization behind them folded in.
std::pair<Tensor, Tensor> folded(const Graph& graph, const FusedNode& group,
                                 const ConvGeometry& g) {
  const Node& node = graph.node(group.anchor);
  Tensor weights = *graph.constant(node.inputs[1]);
  Tensor bias;
  if (node.has_input(2)) bias = *graph.constant(node.inputs[2]);
  if (group.batch_norm == FusedNode::kNone) return {weights, bias};
  const Affine affine = affine_of(graph, graph.node(group.batch_norm));
  const bool grouped = g.weight_dims.size() > weights.shape().size();
  const size_t out = grouped ? 1 : 0;
  const std::span<float> w = weights.mutable_data<float>();
  for (size_t i = 0; i < w.size(); ++i) {
    const auto at = [&](size_t axis) {
      return static_cast<int64_t>(i) / g.weight_strides[axis] % g.weight_dims[axis];
    };
    const int64_t channel = (grouped ? at(0) * g.weight_dims[1] : 0) + at(out);
    w[i] *= affine.scale[static_cast<size_t>(channel)];
  }
  const auto channels = static_cast<int64_t>(affine.scale.size());
  if (!bias.defined()) bias = Tensor(DType::kF32, {channels});
  const std::span<float> b = bias.mutable_data<float>();
  for (size_t c = 0; c < b.size(); ++c) b[c] = b[c] * affine.scale[c] + affine.shift[c];
  return {weights, bias};
}

template <typename Primitive>
bool lower_as(PlanBuilder& builder, const FusedNode& group, Algorithm algorithm) {
  const Graph& graph = builder.graph();
  const Node& node = graph.node(group.anchor);
  const ConvGeometry g = conv_geometry(graph, node, node.inputs[1]);
  const Desc source_any = any_desc(graph.shape(node.inputs[0]));
  const Shape& result_shape = graph.shape(node.outputs[0]);
  const auto [weights, bias] = folded(graph, group, g);
  const Desc bias_desc = bias.defined() ? plain_desc(bias.shape()) : Desc();
  dnnl::primitive_attr plain = plain_attributes();
  auto pd = describe_primitive<Primitive>(builder, g, algorithm, source_any, bias_desc,
                                          any_desc(result_shape), plain);
  if (!pd) return false;
  const SlotId source = builder.slot_in(node.inputs[0], pd.src_desc());
  const Desc result = pd.dst_desc();
  const std::optional<PostOps> post = PostOps::build(builder, group, result, {source});
  if (!post) return false;
  pd = describe_primitive<Primitive>(builder, g, algorithm, pd.src_desc(), bias_desc, result,
                                     post->attributes());
  if (!pd) return false;
  std::vector<std::pair<int, SlotId>> arguments = post->arguments();
  arguments.emplace_back(DNNL_ARG_SRC, source);
  arguments.emplace_back(
      DNNL_ARG_WEIGHTS,
      builder.pack(weights, strided_desc(g.weight_dims, g.weight_strides), pd.weights_desc()));
  if (bias.defined())
    arguments.emplace_back(DNNL_ARG_BIAS, builder.pack(bias, bias_desc, bias_desc));
  arguments.emplace_back(DNNL_ARG_DST, builder.define(group.output, result, post->in_place()));
  builder.add_call({.primitive = Primitive(pd), .desc = &pd, .arguments = std::move(arguments)},
                   group.nodes, result);
  return true;
}

}  // namespace

bool lower_convolution(PlanBuilder& builder, const FusedNode& group) {
  const Node& node = builder.graph().node(group.anchor);
  if (!is_convolution(builder, node)) return false;
  if (node.op == "Conv")
    return lower_as<dnnl::convolution_forward>(builder, group, Algorithm::convolution_direct);
  return lower_as<dnnl::deconvolution_forward>(builder, group, Algorithm::deconvolution_direct);
}

}  // namespace pare
