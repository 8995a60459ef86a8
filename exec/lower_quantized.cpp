// What lies between DequantizeLinear and QuantizeLinear, on 8-bit integers.
//
// real = scale (stored - zero point) on every side, so with a = 32-bit sums over stored numbers
//   stored_y = round(curves(a s_x s_w / s_y)) + z_y
// oneDNN takes the factor as output scales and the source's zero point as an attribute.

#include "exec/conv_geometry.h"
#include "exec/quantized.h"

namespace pare {
namespace {

using Algorithm = dnnl::algorithm;
using Kind = dnnl::prop_kind;

/// The element type a group's result is stored in.
DType result_type(const PlanBuilder& builder, const FusedNode& group) {
  return builder.graph().type(group.output).dtype;
}

/// Curves on real numbers as curves on numbers `scale` times smaller.
std::vector<Curve> rescaled(std::vector<Curve> curves, float scale) {
  for (Curve& curve : curves) {
    if (curve.kind != Curve::Kind::kClip) continue;
    curve.alpha /= scale;
    curve.beta /= scale;
  }
  return curves;
}

dnnl::primitive_attr weighted_attributes(const QuantizedNode& q, size_t channel_axis) {
  const StoredValue& x = q.inputs[0];
  const float unit = q.output ? q.output->scale : 1.0f;
  std::vector<float> scales;
  for (float weight : q.weight_scales) scales.push_back(x.scale * weight / unit);
  dnnl::primitive_attr attributes = plain_attributes();
  attributes.set_output_scales(scales.size() == 1 ? 0 : 1 << channel_axis, scales);
  if (x.zero_point != 0) attributes.set_zero_points(DNNL_ARG_SRC, 0, {x.zero_point});
  std::vector<Curve> curves = rescaled(q.curves, unit);
  if (q.output && q.output->zero_point != 0) {  // Added to what is rounded already, as ONNX says.
    curves.push_back({Curve::Kind::kRound});
    curves.push_back({Curve::Kind::kLinear, 1, static_cast<float>(q.output->zero_point)});
  }
  attributes.set_post_ops(post_ops_of(curves));
  return attributes;
}

bool lower_convolution_int8(PlanBuilder& builder, const FusedNode& group) {
  const Graph& graph = builder.graph();
  const QuantizedNode& q = *group.quantized;
  const ConvGeometry g = conv_geometry(graph, graph.node(q.node), q.weights);
  using Convolution = dnnl::convolution_forward;
  const Tensor* bias = q.bias == kNoValue ? nullptr : graph.constant(q.bias);
  const Desc bias_desc = bias ? plain_desc(bias->shape(), DType::kI32) : Desc();
  const Convolution::primitive_desc pd(
      Convolution::desc(Kind::forward_inference, Algorithm::convolution_direct,
                        any_desc(graph.shape(q.inputs[0].id), graph.type(q.inputs[0].id).dtype),
                        any_desc(g.weight_dims, DType::kI8), bias_desc,
                        any_desc(graph.shape(group.output), result_type(builder, group)), g.strides,
                        g.dilations, g.pad_begin, g.pad_end),
      weighted_attributes(q, 1), builder.engine(), true);
  if (!pd || !is_fast(pd)) return false;
  PlanBuilder::Call call{.desc = &pd};
  call.arguments.emplace_back(DNNL_ARG_SRC, builder.slot_in(q.inputs[0].id, pd.src_desc()));
  call.arguments.emplace_back(
      DNNL_ARG_WEIGHTS,
      builder.pack(*graph.constant(q.weights),
                   strided_desc(g.weight_dims, g.weight_strides, DType::kI8), pd.weights_desc()));
  if (bias) call.arguments.emplace_back(DNNL_ARG_BIAS, builder.pack(*bias, bias_desc, bias_desc));
  call.arguments.emplace_back(DNNL_ARG_DST, builder.define(group.output, pd.dst_desc()));
  call.primitive = Convolution(pd);
  builder.add_call(std::move(call), group.nodes, pd.dst_desc());
  return true;
}

/// x [rows, inputs] times W, whatever axes x has in front.
bool lower_product_int8(PlanBuilder& builder, const FusedNode& group) {
  const Graph& graph = builder.graph();
  const QuantizedNode& q = *group.quantized;
  const Node& node = graph.node(q.node);
  const Tensor& weights = *graph.constant(q.weights);
  const bool transposed = node.attribute<int64_t>("transB", 0) != 0;
  const int64_t inputs = weights.shape()[transposed ? 1 : 0];
  const int64_t outputs = weights.shape()[transposed ? 0 : 1];
  const int64_t rows = element_count(graph.shape(q.inputs[0].id)) / inputs;
  const Desc from = strided_desc({inputs, outputs},
                                 transposed ? Shape{1, inputs} : Shape{outputs, 1}, DType::kI8);
  const Desc source = plain_desc({rows, inputs}, graph.type(q.inputs[0].id).dtype);
  const Desc result = plain_desc({rows, outputs}, result_type(builder, group));
  const Tensor* bias = q.bias == kNoValue ? nullptr : graph.constant(q.bias);
  const Desc bias_desc = bias ? plain_desc({1, outputs}, DType::kI32) : Desc();
  const dnnl::matmul::primitive_desc pd(
      dnnl::matmul::desc(source, any_desc({inputs, outputs}, DType::kI8), bias_desc, result),
      weighted_attributes(q, 1), builder.engine(), true);
  if (!pd || !is_fast(pd)) return false;
  PlanBuilder::Call call{.primitive = dnnl::matmul(pd), .desc = &pd};
  call.arguments.emplace_back(DNNL_ARG_SRC,
                              builder.alias(builder.plain_slot(q.inputs[0].id), source));
  call.arguments.emplace_back(DNNL_ARG_WEIGHTS, builder.pack(weights, from, pd.weights_desc()));
  if (bias) call.arguments.emplace_back(DNNL_ARG_BIAS, builder.pack(*bias, bias_desc, bias_desc));
  const SlotId made = builder.define(
      group.output, plain_desc(graph.shape(group.output), result_type(builder, group)));
  call.arguments.emplace_back(DNNL_ARG_DST, builder.alias(made, result));
  builder.add_call(std::move(call), group.nodes, result);
  return true;
}

/// stored_y = s_a/s_y a + s_b/s_y b + (z_y - s_a/s_y z_a - s_b/s_y z_b), clipped where a Relu or
/// Clip clips.
bool lower_add_int8(PlanBuilder& builder, const FusedNode& group) {
  const Graph& graph = builder.graph();
  const QuantizedNode& q = *group.quantized;
  const StoredValue &a = q.inputs[0], &b = q.inputs[1], &y = *q.output;
  const auto zero = static_cast<float>(y.zero_point);
  const float left = a.scale / y.scale, right = b.scale / y.scale;
  std::vector<Curve> curves = {
      {Curve::Kind::kLinear, 1,
       zero - left * static_cast<float>(a.zero_point) - right * static_cast<float>(b.zero_point)}};
  for (const Curve& curve : rescaled(q.curves, y.scale)) {
    const bool relu = curve.kind == Curve::Kind::kRelu;
    curves.push_back(
        {Curve::Kind::kClip, zero + (relu ? 0 : curve.alpha), relu ? 255.0f : zero + curve.beta});
  }
  dnnl::primitive_attr attributes = plain_attributes();
  attributes.set_scales(DNNL_ARG_SRC_0, 0, {left});
  attributes.set_scales(DNNL_ARG_SRC_1, 0, {right});
  attributes.set_post_ops(post_ops_of(curves));
  const Desc left_desc = builder.common_desc(a.id, b.id);
  const Desc right_desc = retyped(left_desc, graph.type(b.id).dtype);
  const Desc result = retyped(left_desc, result_type(builder, group));
  const dnnl::binary::primitive_desc pd(
      dnnl::binary::desc(Algorithm::binary_add, left_desc, right_desc, result), attributes,
      builder.engine(), true);
  if (!pd || !is_fast(pd)) return false;
  PlanBuilder::Call call{.primitive = dnnl::binary(pd), .desc = &pd};
  call.arguments = {{DNNL_ARG_SRC_0, builder.slot_in(a.id, left_desc)},
                    {DNNL_ARG_SRC_1, builder.slot_in(b.id, right_desc)}};
  call.arguments.emplace_back(DNNL_ARG_DST, builder.define(group.output, result));
  builder.add_call(std::move(call), group.nodes, result);
  return true;
}

}  // namespace

bool lower_quantized(PlanBuilder& builder, const FusedNode& group) {
  if (!group.quantized) return false;
  const QuantizedNode& q = *group.quantized;
  const Graph& graph = builder.graph();
  const bool stored = builder.is_byte(group.output);
  if (!stored && !(builder.is_dense(group.output) && !q.output)) return false;
  for (const StoredValue& input : q.inputs) {
    if (!builder.is_byte(input.id)) return false;
  }
  switch (q.kind) {
    case QuantizedNode::Kind::kWeighted:
      return graph.node(q.node).op.ends_with("Conv") ? lower_convolution_int8(builder, group)
                                                     : lower_product_int8(builder, group);
    case QuantizedNode::Kind::kAdd:
      return lower_add_int8(builder, group);
    case QuantizedNode::Kind::kMaxPool:
      return lower_pool(builder, group, graph.node(q.node), q.inputs[0].id);
  }
  return false;
}

}  // namespace pare
