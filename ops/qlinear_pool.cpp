// Pooling of quantized operands: QLinearGlobalAveragePool and QLinearAveragePool of com.microsoft.
// https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
//
//   X, its scale and zero point, Y's scale and zero point   ->   Y of X's type

#include <algorithm>
#include <array>

#include "ir/channel_slots.h"
#include "ops/axes.h"
#include "ops/elementwise.h"
#include "ops/integer_math.h"
#include "ops/quantization.h"
#include "ops/rows.h"

namespace pare {
namespace {

using Tensors = std::span<const Tensor* const>;

bool channels_last(const Node& node) { return node.attribute<int64_t>("channels_last", 0) != 0; }

void check_operands(Operands in) {
  constexpr size_t kRequired[] = {0, 1, 3};
  require_operands(in, kRequired);
  require_dtype(in[0], is_int8, "int8 or uint8 as quantized operand");
  for (size_t slot = 1; slot < in.size(); ++slot) check_parameter(in, slot, 0);
  if (in[0].shape().size() < 3)
    throw Error(ErrorKind::kInput,
                "input is " + to_string(*in[0].type) + ", expected [N, C, spatial...]");
}

// -- QLinearGlobalAveragePool ----------------------------------------------------

std::vector<TensorType> infer_global(const Node& node, Operands in) {
  check_operands(in);
  Shape y = in[0].shape();
  const ptrdiff_t first = channels_last(node) ? 1 : 2;
  std::fill_n(y.begin() + first, y.size() - 2, 1);
  return {{in[0].type->dtype, std::move(y)}};
}

/// Images and channels are averaged one by one; space is fixed.
void tie_global(const Graph& graph, const Node& node, ChannelSlots& slots) {
  const ValueId x = node.inputs[0], y = node.outputs[0];
  const int channels = channels_last(node) ? static_cast<int>(graph.shape(x).size()) - 1 : 1;
  slots.tie({x, 0}, {y, 0});
  slots.tie({x, channels}, {y, channels});
  for (ValueId value : node.inputs) slots.fix_rest(value);
  slots.fix_rest(y);
}

/// Sums of the centered x in int32, then one rescaling that divides by the count too.
std::vector<Tensor> eval_global(const Node& node, Tensors in) {
  const TensorType type = infer_global(node, as_operands(in))[0];
  const Tensor& x = *in[0];
  Tensor sums(DType::kI32, type.shape);
  const int32_t zero = one_zero_point(operand_or_null(in, 2));
  const std::array<const Shape*, 2> shapes = {&x.shape(), &type.shape};
  const BroadcastPlan plan = plan_broadcast(shapes, x.shape());
  int32_t* to = sums.mutable_data<int32_t>().data();
  visit_quantized(x.dtype(), [&]<typename Q>() {
    const Q* from = x.data<Q>().data();
    for_each_row<2>(plan, [&](int64_t, const std::array<int64_t, 2>& offsets) {
      for (int64_t i = 0; i < plan.row; ++i) {
        int32_t& sum = to[offsets[1] + (plan.moves[1] ? i : 0)];
        sum = wrap_add(sum, from[offsets[0] + i] - zero);
      }
    });
  });
  const int64_t count = type.shape.empty() || sums.size() == 0 ? 1 : x.size() / sums.size();
  const float scale = one_scale(*in[1]) / (one_scale(*in[3]) * static_cast<float>(count));
  const int32_t y_zero = one_zero_point(operand_or_null(in, 4));
  return {requantize(sums, Tensor::scalar(scale), y_zero, type.dtype)};
}

// -- QLinearAveragePool ----------------------------------------------------------

std::vector<TensorType> infer_average(const Node& node, Operands in) {
  check_operands(in);
  if (channels_last(node))
    throw Error(ErrorKind::kUnsupported, "attribute channels_last is set, which is not supported");
  const TensorType x = {DType::kF32, in[0].shape()};
  const std::array<Operand, 1> operands = {{{&x, nullptr}}};
  return {{in[0].type->dtype, kAveragePool.infer(node, operands)[0].shape}};
}

/// The pool sees real numbers, for padding is a real 0 where it counts.
std::vector<Tensor> eval_average(const Node& node, Tensors in) {
  const TensorType type = infer_average(node, as_operands(in))[0];
  const float x_scale = one_scale(*in[1]);
  const Tensor zero = Tensor::scalar(one_zero_point(operand_or_null(in, 2)));
  const Tensor real = map_elements<float, float>(centered(*in[0], zero, DType::kF32),
                                                 [=](float x) { return x * x_scale; });
  const std::array<const Tensor*, 1> operands = {&real};
  const Tensor pooled = kAveragePool.eval(node, operands)[0];
  // Halves are rounded with the zero point added, as ONNX Runtime does here.
  const Quantizer quantizer(integer_range(type.dtype), 1.0f, 0);
  const float y_scale = one_scale(*in[3]);
  const auto y_zero = static_cast<float>(one_zero_point(operand_or_null(in, 4)));
  Tensor y = Tensor::uninitialized(type.dtype, type.shape);
  visit_quantized(type.dtype, [&]<typename Q>() {
    const std::span<const float> from = pooled.data<float>();
    const std::span<Q> to = y.mutable_data<Q>();
    for (size_t i = 0; i < to.size(); ++i)
      to[i] = static_cast<Q>(quantizer.round(from[i] / y_scale + y_zero));
  });
  return {std::move(y)};
}

uint64_t average_ops(const Node& node, Operands in, std::span<const TensorType> outputs) {
  const TensorType x = {DType::kF32, in[0].shape()};
  const std::array<Operand, 1> operands = {{{&x, nullptr}}};
  return kAveragePool.other_ops(node, operands, outputs);
}

void tie_average(const Graph& graph, const Node& node, ChannelSlots& slots) {
  kAveragePool.tie(graph, node, slots);
  for (ValueId value : node.inputs) slots.fix_rest(value);
}

}  // namespace

constinit const OpDef kMsQLinearAveragePool = {.name = "QLinearAveragePool",
                                               .domain = "com.microsoft",
                                               .min_inputs = 2,
                                               .max_inputs = 5,
                                               .infer = infer_average,
                                               .tie = tie_average,
                                               .channels = "channels pass through; space stays",
                                               .other_ops = average_ops,
                                               .eval = eval_average};
constinit const OpDef kMsQLinearGlobalAveragePool = {
    .name = "QLinearGlobalAveragePool",
    .domain = "com.microsoft",
    .min_inputs = 2,
    .max_inputs = 5,
    .infer = infer_global,
    .tie = tie_global,
    .channels = "channels pass through; space stays",
    .other_ops = one_per_input,
    .eval = eval_global};

}  // namespace pare
