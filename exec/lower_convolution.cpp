// Conv and ConvTranspose, with what follows them.

#include <cmath>

#include "exec/plan_builder.h"
#include "ir/window.h"

namespace pare {
namespace {

using Algorithm = dnnl::algorithm;
using Format = dnnl::memory::format_tag;
using Kind = dnnl::prop_kind;
using Type = dnnl::memory::data_type;

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

/// The geometry of a convolution in oneDNN's words.
struct Geometry {
  Dims strides, dilations, pad_begin, pad_end;
  Shape weight_dims, weight_strides;  ///< [O, I, kernel...], with a group axis in front if grouped.
  bool transposed = false;
};

Dims innermost(const Window::Axes& axes, size_t rank, int64_t less = 0) {
  Dims dims;
  for (size_t i = 3 - rank; i < 3; ++i) dims.push_back(axes[i] - less);
  return dims;
}

/// Padding at the end with which the formula for the output's extents holds exactly.
Dims exact_pad_end(const Window& window, size_t rank) {
  Dims pads;
  for (size_t i = 3 - rank; i < 3; ++i) {
    const int64_t reach = (window.kernel[i] - 1) * window.dilation[i] + 1;
    pads.push_back((window.output[i] - 1) * window.stride[i] + reach - window.input[i] -
                   window.pad_begin[i]);
  }
  return pads;
}

Shape strides_of(const Shape& shape) {
  Shape strides(shape.size(), 1);
  for (size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * shape[i];
  return strides;
}

Geometry geometry(const Graph& graph, const Node& node) {
  const Shape &x = graph.shape(node.inputs[0]), &w = graph.shape(node.inputs[1]);
  const size_t rank = x.size() - 2;
  const auto group = node.attribute<int64_t>("group", 1);
  Geometry g{.transposed = node.op == "ConvTranspose"};
  const Shape kernel = kernel_of_weight(node, w);
  const Window window =
      g.transposed ? transposed_window(node, x, kernel) : sliding_window(node, x, kernel);
  g.strides = innermost(window.stride, rank);
  g.dilations = innermost(window.dilation, rank, 1);
  g.pad_begin = innermost(window.pad_begin, rank);
  g.pad_end = exact_pad_end(window, rank);
  // The file has [O, I/group, ...], transposed [I, O/group, ...].
  g.weight_dims = w;
  g.weight_dims[0] /= group;
  g.weight_strides = strides_of(w);
  if (g.transposed) {
    std::swap(g.weight_dims[0], g.weight_dims[1]);
    std::swap(g.weight_strides[0], g.weight_strides[1]);
  }
  if (group > 1) {
    g.weight_dims.insert(g.weight_dims.begin(), group);
    g.weight_strides.insert(g.weight_strides.begin(), w[0] / group * strides_of(w)[0]);
  }
  return g;
}

bool is_convolution(const PlanBuilder& builder, const Node& node) {
  const Graph& graph = builder.graph();
  return node.domain.empty() && (node.op == "Conv" || node.op == "ConvTranspose") &&
         builder.is_dense(node.inputs[0]) && graph.constant(node.inputs[1]) &&
         builder.is_dense(node.inputs[1]) && builder.is_dense(node.outputs[0]) &&
         (!node.has_input(2) || graph.constant(node.inputs[2]));
}

template <typename Primitive>
typename Primitive::primitive_desc describe_primitive(const PlanBuilder& builder, const Geometry& g,
                                                      Algorithm algorithm, const Desc& source,
                                                      const Desc& bias, const Desc& result,
                                                      const dnnl::primitive_attr& attributes) {
  const Desc weights(Dims(g.weight_dims.begin(), g.weight_dims.end()), Type::f32, Format::any);
  const typename Primitive::desc desc(Kind::forward_inference, algorithm, source, weights, bias,
                                      result, g.strides, g.dilations, g.pad_begin, g.pad_end);
  return typename Primitive::primitive_desc(desc, attributes, builder.engine(), true);
}

/// Weights and bias with the BatchNormalization behind them folded in.
std::pair<Tensor, Tensor> folded(const Graph& graph, const FusedNode& group, const Geometry& g) {
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
  const Geometry g = geometry(graph, node);
  const auto any = [](const Shape& shape) {
    return Desc(Dims(shape.begin(), shape.end()), Type::f32, Format::any);
  };
  const Desc source_any = any(graph.shape(node.inputs[0]));
  const Shape& result_shape = graph.shape(node.outputs[0]);
  const auto [weights, bias] = folded(graph, group, g);
  const Desc bias_desc = bias.defined() ? plain_desc(bias.shape()) : Desc();
  dnnl::primitive_attr plain;
  plain.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  auto pd = describe_primitive<Primitive>(builder, g, algorithm, source_any, bias_desc,
                                          any(result_shape), plain);
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
