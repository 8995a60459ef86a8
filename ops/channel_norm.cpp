// Normalization over the space of channels or of groups of them: ONNX InstanceNormalization,
// GroupNormalization. https://onnx.ai/onnx/operators/onnx__GroupNormalization.html
//
//   X [N, C, ...]   scale, bias [C]   ->   Y of X's shape
//
// GroupNormalization of opset 18 has scale and bias per group, [num_groups]; from 21 on per
// channel.

#include "ir/channel_slots.h"
#include "ops/elementwise.h"
#include "ops/moments.h"
#include "ops/rows.h"

namespace pare {
namespace {

/// Checks that X has channels and scale and bias `expected` elements each.
std::vector<TensorType> check(Operands in, int64_t expected) {
  require_dtype(in[0], is_float, "floats");
  require_one_dtype(in);
  for (size_t i = 1; i < 3; ++i) {
    if (in[i].shape() != Shape{expected})
      throw Error(ErrorKind::kInput, std::string(i == 1 ? "scale" : "bias") + " is " +
                                         to_string(in[i].shape()) + ", expected [" +
                                         std::to_string(expected) + "] for input " +
                                         to_string(in[0].shape()));
  }
  return {*in[0].type};
}

void require_channels(const Shape& x) {
  if (x.size() < 3)
    throw Error(ErrorKind::kInput, "input is " + to_string(x) + ", expected [N, C, spatial...]");
}

/// Per element: mean 1, centring 1, variance 2, standardizing 1, scale and bias 2.
uint64_t other_ops(const Node& node, Operands in, std::span<const TensorType> out) {
  return 7 * one_per_output(node, in, out);
}

/// Standardizes blocks of `block` channels; channel c is scaled by parameter c / per_parameter.
Tensor normalize(const Node& node, std::span<const Tensor* const> in, int64_t block,
                 int64_t per_parameter) {
  const Tensor& x = *in[0];
  const auto epsilon = static_cast<double>(node.attribute("epsilon", 1e-5f));
  const int64_t channels = x.shape()[1], planes = x.shape()[0] * channels;
  Tensor y = Tensor::uninitialized(x.dtype(), x.shape());
  if (y.size() == 0) return y;
  const int64_t space = x.size() / planes;
  visit_float(x.dtype(), [&]<typename T>() {
    const T* from = x.data<T>().data();
    T* to = y.mutable_data<T>().data();
    for (int64_t first = 0; first < planes; first += block) {
      const Moments m = moments(from + first * space, block * space, epsilon);
      for (int64_t plane = first; plane < first + block; ++plane) {
        const auto parameter = static_cast<size_t>(plane % channels / per_parameter);
        const double factor =
            static_cast<double>(in[1]->data<T>()[parameter]) * m.inverse_deviation;
        const double shift = static_cast<double>(in[2]->data<T>()[parameter]) - m.mean * factor;
        for (int64_t i = plane * space; i < (plane + 1) * space; ++i)
          to[i] = static_cast<T>(static_cast<double>(from[i]) * factor + shift);
      }
    }
  });
  return y;
}

// -- InstanceNormalization ---------------------------------------------------------

std::vector<TensorType> infer_instance(const Node&, Operands in) {
  require_channels(in[0].shape());
  return check(in, in[0].shape()[1]);
}

void tie_instance(const Graph&, const Node& node, ChannelSlots& slots) {
  const ValueId x = node.inputs[0], y = node.outputs[0];
  slots.tie({x, 0}, {y, 0});
  slots.tie({x, 1}, {y, 1});
  for (size_t i = 1; i < 3; ++i) slots.tie({node.inputs[i], 0}, {y, 1});
  slots.fix_rest(x);
  slots.fix_rest(y);
}

std::vector<Tensor> eval_instance(const Node& node, std::span<const Tensor* const> in) {
  (void)infer_instance(node, as_operands(in));
  return {normalize(node, in, 1, 1)};
}

void upgrade_instance(Graph& graph, NodeId id, int64_t) {
  graph.remove_attribute(id, "consumed_inputs");
}

// -- GroupNormalization ------------------------------------------------------------

bool per_group(const Node& node) { return node.opset < 21; }

/// num_groups, checked against X.
int64_t groups_of(const Node& node, const Shape& x) {
  require_channels(x);
  const auto groups = node.attribute<int64_t>("num_groups", 0);
  if (groups < 1 || x[1] % groups != 0)
    throw Error(ErrorKind::kInput, "num_groups=" + std::to_string(groups) +
                                       " does not divide the channels of input " + to_string(x));
  return groups;
}

std::vector<TensorType> infer_group(const Node& node, Operands in) {
  const int64_t groups = groups_of(node, in[0].shape());
  return check(in, per_group(node) ? groups : in[0].shape()[1]);
}

/// The channels of a group share their statistics, so they go together or not at all.
void tie_group(const Graph& graph, const Node& node, ChannelSlots& slots) {
  const ValueId x = node.inputs[0], y = node.outputs[0];
  const int64_t groups = groups_of(node, graph.shape(x)), block = graph.shape(x)[1] / groups;
  slots.tie({x, 0}, {y, 0});
  slots.tie({x, 1}, {y, 1});
  for (int64_t c = 0; c < groups * block; ++c) slots.tie_one({y, 1}, c, {y, 1}, c - c % block);
  for (size_t i = 1; i < 3; ++i)
    slots.tie_blocks({node.inputs[i], 0}, {y, 1}, per_group(node) ? block : 1);
  if (groups == 1) slots.fix({y, 1});
  slots.fix_rest(x);
  slots.fix_rest(y);
}

/// Whole groups went.
void resize_group(Graph& graph, NodeId id, const ShapeChange& change) {
  const auto groups = graph.node(id).attribute<int64_t>("num_groups", 1);
  const int64_t block = change.old_inputs[0][1] / groups;
  graph.set_attribute(id, "num_groups", change.new_inputs[0][1] / block);
}

std::vector<Tensor> eval_group(const Node& node, std::span<const Tensor* const> in) {
  (void)infer_group(node, as_operands(in));
  const int64_t block = in[0]->shape()[1] / groups_of(node, in[0]->shape());
  return {normalize(node, in, block, per_group(node) ? block : 1)};
}

/// Repeats the scale and bias of a group for each of its channels.
void upgrade_group(Graph& graph, NodeId id, int64_t target) {
  const Node& node = graph.node(id);
  if (!per_group(node) || target < 21) return;
  const Shape x = graph.shape(node.inputs[0]);
  const int64_t block = x[1] / groups_of(node, x);
  std::vector<int64_t> repeat;
  for (int64_t c = 0; c < x[1]; ++c) repeat.push_back(c / block);
  const std::vector<ValueId> inputs = node.inputs;
  for (size_t i = 1; i < 3; ++i) {
    if (const Tensor* parameter = graph.constant(inputs[i])) {
      graph.set_input(
          id, i, graph.add_constant(graph.value(inputs[i]).name, gather(*parameter, 0, repeat)));
    } else {
      const ValueId indices = graph.add_constant("channel_groups", Tensor({x[1]}, repeat));
      graph.set_input(id, i, graph.insert_node(id, "Gather", {inputs[i], indices}));
    }
  }
}

}  // namespace

constinit const OpDef kInstanceNormalization = {
    .name = "InstanceNormalization",
    .min_inputs = 3,
    .max_inputs = 3,
    .infer = infer_instance,
    .tie = tie_instance,
    .channels = "a channel goes with its scale and bias; space stays",
    .other_ops = other_ops,
    .eval = eval_instance,
    .upgrade = upgrade_instance,
};

constinit const OpDef kGroupNormalization = {
    .name = "GroupNormalization",
    .min_inputs = 3,
    .max_inputs = 3,
    .infer = infer_group,
    .tie = tie_group,
    .channels =
        "the channels of a group go together, with their scale and bias; a single group stays",
    .resize = resize_group,
    .other_ops = other_ops,
    .eval = eval_group,
    .upgrade = upgrade_group,
};

}  // namespace pare
