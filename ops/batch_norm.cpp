// ONNX BatchNormalization in its inference form.
// https://onnx.ai/onnx/operators/onnx__BatchNormalization.html
//
//   X [N, C, ...]   scale, B, mean, var [C]   ->   Y = (X - mean) / sqrt(var + epsilon) * scale + B

#include <algorithm>
#include <array>
#include <cmath>

#include "ir/channel_slots.h"
#include "ops/elementwise.h"
#include "ops/rows.h"

namespace pare {
namespace {

constexpr std::array<const char*, 5> kOperands = {"X", "scale", "B", "mean", "var"};

int64_t channels_of(const Shape& x) { return x.size() < 2 ? 1 : x[1]; }

/// Opsets before 14 list the statistics of training as further outputs.
std::vector<TensorType> infer(const Node& node, Operands in) {
  require_dtype(in[0], is_float, "floats");
  const Shape& x = in[0].shape();
  if (x.empty())
    throw Error(ErrorKind::kInput, "input X is a scalar, expected at least a batch axis");
  if (node.attribute<int64_t>("spatial", 1) == 0)
    throw Error(ErrorKind::kUnsupported, "attribute 'spatial' is 0, which opset 9 dropped");
  std::vector<TensorType> types = {*in[0].type};
  for (size_t i = 1; i < 5; ++i) {
    require_dtype(in[i], is_float, "floats");
    if (in[i].shape() != Shape{channels_of(x)})
      throw Error(ErrorKind::kInput, std::string(kOperands[i]) + " is " + to_string(in[i].shape()) +
                                         ", but X " + to_string(x) + " has " +
                                         std::to_string(channels_of(x)) + " channels");
    types.push_back(*in[i < 3 ? i + 2 : i].type);  // mean, var, saved mean, saved var.
  }
  return types;
}

void tie(const Graph& graph, const Node& node, ChannelSlots& slots) {
  const ValueId x = node.inputs[0], y = node.outputs[0];
  const Shape& shape = graph.shape(x);
  for (int axis = 0; axis < static_cast<int>(shape.size()); ++axis) slots.tie({x, axis}, {y, axis});
  for (size_t i = 1; i < node.inputs.size(); ++i) {
    if (shape.size() > 1) slots.tie({node.inputs[i], 0}, {y, 1});
    slots.fix_rest(node.inputs[i]);
  }
  for (size_t i = 1; i < node.outputs.size(); ++i) slots.fix_rest(node.outputs[i]);
}

/// A multiplication and an addition per element: the parameters are constants and fold into two.
uint64_t other_ops(const Node& node, Operands in, std::span<const TensorType> out) {
  return 2 * one_per_output(node, in, out);
}

double parameter(const Tensor& tensor, size_t channel) {
  return visit_float(tensor.dtype(),
                     [&]<typename T>() { return static_cast<double>(tensor.data<T>()[channel]); });
}

std::vector<Tensor> eval(const Node& node, std::span<const Tensor* const> in) {
  const Tensor& x = *in[0];
  (void)infer(node, as_operands(in));
  if (node.attribute<int64_t>("training_mode", 0) != 0)
    throw Error(ErrorKind::kUnsupported, "attribute 'training_mode' is 1, this tool infers only");
  const auto epsilon = static_cast<double>(node.attribute("epsilon", 1e-5f));
  const int64_t channels = channels_of(x.shape()), planes = x.shape()[0] * channels;
  const int64_t space = planes > 0 ? x.size() / planes : 0;
  Tensor y = Tensor::uninitialized(x.dtype(), x.shape());
  visit_float(x.dtype(), [&]<typename T>() {
    const T* from = x.data<T>().data();
    T* to = y.mutable_data<T>().data();
    for (int64_t c = 0; c < channels; ++c) {
      const auto channel = static_cast<size_t>(c);
      const double scale =
          parameter(*in[1], channel) / std::sqrt(parameter(*in[4], channel) + epsilon);
      const auto factor = static_cast<T>(scale);
      const auto shift =
          static_cast<T>(parameter(*in[2], channel) - parameter(*in[3], channel) * scale);
      for (int64_t plane = c; plane < planes; plane += channels) {
        const T* p = from + plane * space;
        std::transform(p, p + space, to + plane * space,
                       [&](T value) { return value * factor + shift; });
      }
    }
  });
  return {std::move(y)};
}

/// Drops what newer opsets do not know and what inference never looked at.
void upgrade(Graph& graph, NodeId id, int64_t) {
  for (const char* key : {"consumed_inputs", "is_test", "spatial"}) graph.remove_attribute(id, key);
}

}  // namespace

constinit const OpDef kBatchNormalization = {
    .name = "BatchNormalization",
    .min_inputs = 5,
    .max_inputs = 5,
    .infer = infer,
    .tie = tie,
    .channels = "a channel goes with its scale, bias, mean and variance",
    .other_ops = other_ops,
    .eval = eval,
    .upgrade = upgrade,
};

}  // namespace pare
