// QuantizeLinear and DequantizeLinear, of ONNX and of com.microsoft.
// https://onnx.ai/onnx/operators/onnx__QuantizeLinear.html
//
//   y = saturate(round(x / scale) + zero_point)      x = (y - zero_point) * scale
//
// Scale and zero point are scalars (per tensor), lists along `axis` (opset 13), or tensors whose
// extent on `axis` is divided by `block_size` (opset 21). Float8 and float4 are not supported.

#include <algorithm>

#include "ir/channel_slots.h"
#include "ops/axes.h"
#include "ops/elementwise.h"
#include "ops/onnx_dtype.h"
#include "ops/quantization.h"
#include "ops/rows.h"

namespace pare {
namespace {

using Tensors = std::span<const Tensor* const>;

// -- Scale and zero point --------------------------------------------------------

/// How scale and zero point lie over a tensor.
struct Granularity {
  enum Kind { kTensor, kAxis, kBlock } kind = kTensor;
  size_t axis = 0;
  int64_t block = 1;  ///< Indices of the axis that share a scale.
};

/// Reads how `scale` lies over `x` and throws Error(kInput) where it does not fit.
Granularity granularity(const Node& node, const Shape& x, const Shape& scale) {
  if (scale.empty() || scale == Shape{1}) return {};
  const size_t axis = axis_attribute(node, 1, x.size());
  const auto block = node.attribute<int64_t>("block_size", 0);
  if (block == 0 && scale == Shape{x[axis]}) return {Granularity::kAxis, axis, 1};
  Shape expected = x;
  if (block > 0) {
    expected[axis] = x[axis] / block + (x[axis] % block != 0);
    if (scale == expected) return {Granularity::kBlock, axis, block};
  }
  throw Error(ErrorKind::kInput, "scale " + to_string(scale) + " does not fit operand " +
                                     to_string(x) + ", expected a scalar or " +
                                     to_string(block > 0 ? expected : Shape{x[axis]}) +
                                     " for axis " + std::to_string(axis));
}

Granularity checked_granularity(const Node& node, Operands in) {
  const Granularity result = granularity(node, in[0].shape(), in[1].shape());
  require_dtype(in[1], is_float, "a float as scale");
  if (in.size() <= 2 || !in[2] || in[2].shape() == in[1].shape()) return result;
  if (element_count(in[1].shape()) != 1 || element_count(in[2].shape()) != 1) {
    throw Error(ErrorKind::kInput, "zero point " + to_string(*in[2].type) +
                                       " must have the shape of scale " + to_string(*in[1].type));
  }
  return result;
}

/// A scale or zero point tensor in a shape that broadcasts to `x`.
Tensor aligned(const Tensor& parameter, const Granularity& g, const Shape& x) {
  if (g.kind != Granularity::kBlock) return along_axis(parameter, g.axis, x.size());
  std::vector<int64_t> blocks(static_cast<size_t>(x[g.axis]));
  for (size_t i = 0; i < blocks.size(); ++i) blocks[i] = static_cast<int64_t>(i) / g.block;
  return gather(parameter, static_cast<int>(g.axis), blocks);
}

struct Parameters {
  Tensor scale;  ///< f32
  Tensor zero;   ///< i32, in the shape of `scale`
};

Parameters parameters(const Node& node, Tensors in) {
  const std::vector<Operand> operands = as_operands(in);
  const Granularity g = checked_granularity(node, operands);
  Tensor zero = zero_point_of(operand_or_null(in, 2));
  if (zero.size() != in[1]->size()) zero = broadcast_to(zero, in[1]->shape());  // Left out.
  return {aligned(scale_of(*in[1]), g, in[0]->shape()),
          aligned(zero.reshaped(in[1]->shape()), g, in[0]->shape())};
}

/// Calls `row(first, count, parameter, moves)` for the rows of `x` in which scale and zero point
/// stand still at, or move on from, element `parameter`.
template <typename Row>
void for_each_scale_row(const Shape& x, const Parameters& p, Row row) {
  const std::array<const Shape*, 1> shapes = {&p.scale.shape()};
  const BroadcastPlan plan = plan_broadcast(shapes, x);
  for_each_row<1>(plan, [&](int64_t first, const std::array<int64_t, 1>& offsets) {
    row(first, plan.row, offsets[0], bool{plan.moves[0]});
  });
}

/// All axes of x and y live together; a list of scales with the axis it lies along.
void tie(const Graph& graph, const Node& node, ChannelSlots& slots) {
  const ValueId x = node.inputs[0], scale = node.inputs[1], y = node.outputs[0];
  const Shape& shape = graph.shape(x);
  const Granularity g = granularity(node, shape, graph.shape(scale));
  for (size_t axis = 0; axis < shape.size(); ++axis) slots.tie(dim_of(x, axis), dim_of(y, axis));
  for (size_t slot = 1; slot < node.inputs.size(); ++slot) {
    const ValueId parameter = node.inputs[slot];
    if (parameter == kNoValue) continue;
    if (g.kind == Granularity::kAxis) slots.tie({parameter, 0}, dim_of(y, g.axis));
    if (g.kind == Granularity::kBlock) {
      for (size_t axis = 0; axis < shape.size(); ++axis) {
        if (axis != g.axis) slots.tie(dim_of(parameter, axis), dim_of(y, axis));
      }
      // A block goes as a whole; where the last one is short, none goes.
      if (shape[g.axis] % g.block == 0) {
        slots.tie_blocks(dim_of(parameter, g.axis), dim_of(y, g.axis), g.block);
      } else {
        slots.fix(dim_of(y, g.axis));
      }
    }
    slots.fix_rest(parameter);
  }
}

// -- QuantizeLinear --------------------------------------------------------------

DType quantized_dtype(const Node& node, Operands in) {
  if (in.size() > 2 && in[2]) return in[2].type->dtype;
  return dtype_attribute(node, "output_dtype", DType::kU8);
}

std::vector<TensorType> infer_quantize(const Node& node, Operands in) {
  require_dtype(
      in[0], [](DType t) { return is_float(t) || t == DType::kI32; }, "floats or int32");
  (void)checked_granularity(node, in);
  return {{quantized_dtype(node, in), in[0].shape()}};
}

template <typename Q>
void quantize(const Tensor& x, const Parameters& p, IntegerRange range, Tensor& y) {
  const float* from = x.data<float>().data();
  const float* scale = p.scale.data<float>().data();
  const int32_t* zero = p.zero.data<int32_t>().data();
  Q* to = y.mutable_data<Q>().data();
  for_each_scale_row(x.shape(), p, [&](int64_t first, int64_t count, int64_t k, bool moves) {
    const float* source = from + first;
    Q* target = to + first;
    if (moves) {
      for (int64_t i = 0; i < count; ++i)
        target[i] = static_cast<Q>(Quantizer(range, scale[k + i], zero[k + i])(source[i]));
    } else {
      const Quantizer quantizer(range, scale[k], zero[k]);
      for (int64_t i = 0; i < count; ++i) target[i] = static_cast<Q>(quantizer(source[i]));
    }
  });
}

std::vector<Tensor> eval_quantize(const Node& node, Tensors in) {
  const TensorType type = infer_quantize(node, as_operands(in))[0];
  if (dtype_attribute(node, "precision", DType::kF32) != DType::kF32)
    throw Error(ErrorKind::kUnsupported, "attribute precision asks for another type than float");
  const IntegerRange range = integer_range(type.dtype);
  const Parameters p = parameters(node, in);
  const Tensor x = cast(*in[0], DType::kF32);
  Tensor y = Tensor::uninitialized(type.dtype, type.shape);
  visit_quantized(type.dtype, [&]<typename Q>() { quantize<Q>(x, p, range, y); });
  return {std::move(y)};
}

// -- DequantizeLinear ------------------------------------------------------------

std::vector<TensorType> infer_dequantize(const Node& node, Operands in) {
  (void)checked_granularity(node, in);
  return {{dtype_attribute(node, "output_dtype", in[1].type->dtype), in[0].shape()}};
}

template <typename Q>
void dequantize(const Tensor& x, const Parameters& p, Tensor& y) {
  const Q* from = x.data<Q>().data();
  const float* scale = p.scale.data<float>().data();
  const int32_t* zero = p.zero.data<int32_t>().data();
  float* to = y.mutable_data<float>().data();
  const auto difference = [](Q q, int32_t z) {  // Wraps: an int32 x has zero point 0 anyhow.
    return static_cast<float>(
        static_cast<int32_t>(static_cast<uint32_t>(q) - static_cast<uint32_t>(z)));
  };
  for_each_scale_row(x.shape(), p, [&](int64_t first, int64_t count, int64_t k, bool moves) {
    const Q* source = from + first;
    float* target = to + first;
    if (moves) {
      for (int64_t i = 0; i < count; ++i)
        target[i] = difference(source[i], zero[k + i]) * scale[k + i];
    } else {
      const float s = scale[k];
      const int32_t z = zero[k];
      for (int64_t i = 0; i < count; ++i) target[i] = difference(source[i], z) * s;
    }
  });
}

std::vector<Tensor> eval_dequantize(const Node& node, Tensors in) {
  const TensorType type = infer_dequantize(node, as_operands(in))[0];
  const DType dtype = in[0]->dtype();
  if (!is_integer(dtype) || (bit_width(dtype) > 16 && dtype != DType::kI32)) {
    throw Error(ErrorKind::kUnsupported,
                "dequantization of " + std::string(to_string(dtype)) + " is not supported");
  }
  const Parameters p = parameters(node, in);
  Tensor y = Tensor::uninitialized(DType::kF32, type.shape);
  visit_quantized(dtype, [&]<typename Q>() { dequantize<Q>(*in[0], p, y); });
  return {cast(y, type.dtype)};
}

constexpr OpDef row(std::string_view name, std::string_view domain,
                    std::vector<TensorType> (*infer)(const Node&, Operands),
                    std::vector<Tensor> (*eval)(const Node&, Tensors)) {
  return {.name = name,
          .domain = domain,
          .min_inputs = 2,
          .max_inputs = 3,
          .infer = infer,
          .tie = tie,
          .channels =
              "every index passes through, with its scale and zero point where it has one; a block "
              "of one scale goes as a whole",
          .other_ops = one_per_output,
          .eval = eval,
          .native_half = true};
}

}  // namespace

constinit const OpDef kDequantizeLinear =
    row("DequantizeLinear", "", infer_dequantize, eval_dequantize);
constinit const OpDef kMsDequantizeLinear =
    row("DequantizeLinear", "com.microsoft", infer_dequantize, eval_dequantize);
constinit const OpDef kMsQuantizeLinear =
    row("QuantizeLinear", "com.microsoft", infer_quantize, eval_quantize);
constinit const OpDef kQuantizeLinear = row("QuantizeLinear", "", infer_quantize, eval_quantize);

}  // namespace pare
