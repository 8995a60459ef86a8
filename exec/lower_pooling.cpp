// MaxPool, AveragePool, GlobalAveragePool, GlobalMaxPool, and ReduceMean over all of space.

#include <algorithm>

#include "exec/plan_builder.h"
#include "ir/window.h"

namespace pare {
namespace {

using Algorithm = dnnl::algorithm;
using Pooling = dnnl::pooling_v2_forward;

struct Pool {
  Algorithm algorithm = Algorithm::pooling_max;
  Dims kernel, strides, dilations, pad_begin, pad_end;
};

bool is_global(const Node& node) {
  return node.op == "GlobalAveragePool" || node.op == "GlobalMaxPool";
}

/// A mean over every axis behind the channels.
bool is_spatial_mean(const Graph& graph, const Node& node) {
  if (node.op != "ReduceMean") return false;
  const auto rank = static_cast<int64_t>(graph.shape(node.inputs[0]).size());
  auto axes = node.attribute<std::vector<int64_t>>("axes", {});
  if (node.has_input(1)) {
    const Tensor* operand = graph.constant(node.inputs[1]);
    if (!operand) return false;
    axes = to_int64(*operand);
  }
  if (rank < 3 || std::ssize(axes) != rank - 2) return false;
  for (int64_t& axis : axes) axis += axis < 0 ? rank : 0;
  std::ranges::sort(axes);
  for (int64_t i = 0; i < rank - 2; ++i) {
    if (axes[static_cast<size_t>(i)] != i + 2) return false;
  }
  return true;
}

Pool over_everything(const Shape& x, Algorithm algorithm) {
  Pool pool{.algorithm = algorithm, .kernel = Dims(x.begin() + 2, x.end())};
  pool.strides = Dims(pool.kernel.size(), 1);
  pool.dilations = pool.pad_begin = pool.pad_end = Dims(pool.kernel.size(), 0);
  return pool;
}

std::optional<Pool> pool_of(const Graph& graph, const Node& node) {
  const Shape& x = graph.shape(node.inputs[0]);
  if (node.op == "GlobalMaxPool") return over_everything(x, Algorithm::pooling_max);
  if (is_global(node) || is_spatial_mean(graph, node))
    return over_everything(x, Algorithm::pooling_avg_exclude_padding);
  const bool average = node.op == "AveragePool";
  if ((!average && node.op != "MaxPool") || node.has_output(1)) return {};
  const bool counts_padding = node.attribute<int64_t>("count_include_pad", 0) != 0;
  Pool pool;
  if (average)
    pool.algorithm = counts_padding ? Algorithm::pooling_avg_include_padding
                                    : Algorithm::pooling_avg_exclude_padding;
  const auto kernel = node.attribute<std::vector<int64_t>>("kernel_shape", {});
  const Window window = sliding_window(node, x, kernel);
  for (size_t i = 3 - kernel.size(); i < 3; ++i) {
    const int64_t reach = (window.kernel[i] - 1) * window.dilation[i] + 1;
    const int64_t end =
        (window.output[i] - 1) * window.stride[i] + reach - window.input[i] - window.pad_begin[i];
    // What a last window reads behind the padding does not count in ONNX.
    if (average && counts_padding && end > window.pad_end[i]) return {};
    if (end >= reach) return {};
    pool.kernel.push_back(window.kernel[i]);
    pool.strides.push_back(window.stride[i]);
    pool.dilations.push_back(window.dilation[i] - 1);
    pool.pad_begin.push_back(window.pad_begin[i]);
    pool.pad_end.push_back(end);
  }
  return pool;
}

}  // namespace

bool lower_pool(PlanBuilder& builder, const FusedNode& group, const Node& node, ValueId input) {
  const Graph& graph = builder.graph();
  const size_t rank = graph.shape(input).size();
  if (rank < 3 || rank > 5) return false;
  const std::optional<Pool> pool = pool_of(graph, node);
  if (!pool) return false;
  const Desc source_desc = builder.desc_of(input);
  Shape pooled = graph.shape(group.output);
  pooled.resize(rank, 1);  // ReduceMean may drop the axes.
  const DType dtype = graph.type(group.output).dtype;
  const Pooling::desc desc(dnnl::prop_kind::forward_inference, pool->algorithm, source_desc,
                           any_desc(pooled, dtype), pool->strides, pool->kernel, pool->dilations,
                           pool->pad_begin, pool->pad_end);
  dnnl::primitive_attr attributes = plain_attributes();
  const Pooling::primitive_desc pd(desc, attributes, builder.engine(), true);
  if (!pd) return false;
  const bool keeps_rank = graph.shape(group.output).size() == rank;
  if (!keeps_rank && pd.dst_desc() != plain_desc(pooled, dtype)) return false;
  const SlotId source = builder.slot_in(input, source_desc);
  const Desc made = keeps_rank ? pd.dst_desc() : plain_desc(graph.shape(group.output), dtype);
  const SlotId result = builder.define(group.output, made);
  builder.add_call(
      {.primitive = Pooling(pd),
       .desc = &pd,
       .arguments = {{DNNL_ARG_SRC, source},
                     {DNNL_ARG_DST, keeps_rank ? result : builder.alias(result, pd.dst_desc())}}},
      group.nodes, pd.dst_desc());
  return true;
}

bool lower_pooling(PlanBuilder& builder, const FusedNode& group) {
  const Graph& graph = builder.graph();
  const Node& node = graph.node(group.anchor);
  if (group.nodes.size() > 1 || !node.domain.empty() || node.inputs.empty() ||
      !builder.is_dense(node.inputs[0]) || !builder.is_dense(node.outputs[0]) ||
      graph.constant(node.inputs[0]))
    return false;
  return lower_pool(builder, group, node, node.inputs[0]);
}

}  // namespace pare
