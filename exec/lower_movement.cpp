// What moves elements or only names them otherwise.

#include <algorithm>
#include <numeric>

#include "exec/plan_builder.h"

namespace pare {
namespace {

/// The result has the bytes of the first operand.
bool is_view(const Node& node) {
  static constexpr std::string_view kOps[] = {"Reshape", "Flatten", "Squeeze", "Unsqueeze",
                                              "Identity"};
  return std::ranges::find(kOps, node.op) != std::end(kOps) ||
         (node.op == "Dropout" && !node.has_output(1) && !node.has_input(2) && node.opset >= 7);
}

/// Pads nothing: exporters write such nodes in front of pools.
bool is_empty_pad(const Graph& graph, const Node& node) {
  if (node.op != "Pad") return false;
  auto pads = node.attribute<std::vector<int64_t>>("pads", {});
  if (node.has_input(1)) {
    const Tensor* operand = graph.constant(node.inputs[1]);
    if (!operand) return false;
    pads = to_int64(*operand);
  }
  return std::ranges::all_of(pads, [](int64_t pad) { return pad == 0; });
}

/// A dense layout of `shape` with the axes in the order `like` has them; nothing where that one is
/// blocked.
std::optional<Desc> ordered_like(const Desc& like, const Shape& shape) {
  const dnnl_blocking_desc_t& blocking = like.data.format_desc.blocking;
  if (like.data.format_kind != dnnl_blocked || blocking.inner_nblks > 0) return {};
  std::vector<size_t> axes(shape.size());
  std::iota(axes.begin(), axes.end(), size_t{0});
  std::ranges::stable_sort(
      axes, [&](size_t a, size_t b) { return blocking.strides[a] > blocking.strides[b]; });
  Shape strides(shape.size(), 1);
  int64_t stride = 1;
  for (size_t i = axes.size(); i-- > 0;) {
    strides[axes[i]] = stride;
    stride *= shape[axes[i]];
  }
  return strided_desc(shape, strides);
}

bool lower_concat(PlanBuilder& builder, const FusedNode& group) {
  const Graph& graph = builder.graph();
  const Node& node = graph.node(group.anchor);
  auto axis = node.attribute<int64_t>("axis", 1);
  axis += axis < 0 ? std::ssize(graph.shape(group.output)) : 0;
  for (ValueId input : node.inputs) {
    if (!builder.is_dense(input) || graph.constant(input)) return false;
  }
  // One layout for all, that of the operand made last: its kernel and the next one like it.
  const Desc wanted = builder.desc_of(node.inputs.back());
  std::vector<Desc> sources;
  std::vector<SlotId> slots;
  for (ValueId input : node.inputs) {
    const std::optional<Desc> ordered = ordered_like(wanted, graph.shape(input));
    sources.push_back(ordered ? *ordered : builder.desc_of(input));
    slots.push_back(builder.slot_in(input, sources.back()));
  }
  dnnl::primitive_attr attributes = plain_attributes();
  const std::optional<Desc> result = ordered_like(wanted, graph.shape(group.output));
  const dnnl::concat::primitive_desc pd =
      result ? dnnl::concat::primitive_desc(*result, static_cast<int>(axis), sources,
                                            builder.engine(), attributes)
             : dnnl::concat::primitive_desc(static_cast<int>(axis), sources, builder.engine(),
                                            attributes);
  PlanBuilder::Call call{.primitive = dnnl::concat(pd), .desc = &pd};
  for (size_t i = 0; i < slots.size(); ++i)
    call.arguments.emplace_back(DNNL_ARG_MULTIPLE_SRC + static_cast<int>(i), slots[i]);
  call.arguments.emplace_back(DNNL_ARG_DST, builder.define(group.output, pd.dst_desc()));
  builder.add_call(std::move(call), group.nodes, pd.dst_desc());
  return true;
}

bool lower_transpose(PlanBuilder& builder, const FusedNode& group) {
  const Graph& graph = builder.graph();
  const Node& node = graph.node(group.anchor);
  const Shape& x = graph.shape(node.inputs[0]);
  Shape permutation = node.attribute<std::vector<int64_t>>("perm", {});
  for (size_t i = 0; permutation.size() < x.size(); ++i)
    permutation.push_back(std::ssize(x) - 1 - static_cast<int64_t>(i));
  const Shape strides = dense_strides(x);
  Shape permuted;
  for (int64_t axis : permutation) permuted.push_back(strides[static_cast<size_t>(axis)]);
  const Desc from = strided_desc(graph.shape(group.output), permuted);
  const Desc to = plain_desc(graph.shape(group.output));
  const SlotId source = builder.alias(builder.plain_slot(node.inputs[0]), from);
  dnnl::primitive_attr attributes = plain_attributes();
  const dnnl::reorder::primitive_desc pd(builder.engine(), from, builder.engine(), to, attributes);
  builder.add_call(
      {.primitive = dnnl::reorder(pd),
       .desc = &pd,
       .arguments = {{DNNL_ARG_FROM, source}, {DNNL_ARG_TO, builder.define(group.output, to)}}},
      group.nodes, to);
  return true;
}

}  // namespace

bool lower_movement(PlanBuilder& builder, const FusedNode& group) {
  const Graph& graph = builder.graph();
  const Node& node = graph.node(group.anchor);
  if (group.nodes.size() > 1 || !node.domain.empty() || node.inputs.empty() ||
      !builder.is_dense(node.inputs[0]) || graph.constant(node.inputs[0]) ||
      !builder.is_dense(group.output))
    return false;
  if (node.op == "Concat") return lower_concat(builder, group);
  if (node.op == "Transpose") return lower_transpose(builder, group);
  if (!is_view(node) && !is_empty_pad(graph, node)) return false;
  if (element_count(graph.shape(node.inputs[0])) != element_count(graph.shape(group.output)))
    return false;
  if (graph.shape(node.inputs[0]) == graph.shape(group.output)) {
    builder.define_same(group.output, node.inputs[0], group.anchor);
    return true;
  }
  builder.define_view(group.output, builder.tensor_slot(node.inputs[0]), graph.shape(group.output),
                      group.anchor);
  return true;
}

}  // namespace pare
