// ONNX Concat. https://onnx.ai/onnx/operators/onnx__Concat.html

#include <cstring>

#include "ir/channel_slots.h"
#include "ops/axes.h"
#include "ops/movement.h"

namespace pare {
namespace {

/// Shape of the result; `shapes` are those of the operands.
Shape concat_shape(const Node& node, const std::vector<const Shape*>& shapes) {
  Shape out = *shapes.front();
  const size_t axis = axis_attribute(node, 1, out.size());
  for (size_t i = 1; i < shapes.size(); ++i) {
    Shape rest = *shapes[i];
    const bool fits = rest.size() == out.size();
    const int64_t extent = fits ? rest[axis] : 0;
    if (fits) rest[axis] = out[axis];
    if (!fits || rest != out) {
      throw Error(ErrorKind::kInput, "input " + std::to_string(i) + " of " + to_string(*shapes[i]) +
                                         " does not fit input 0 of " + to_string(*shapes[0]) +
                                         " but for axis " + std::to_string(axis));
    }
    if (__builtin_add_overflow(out[axis], extent, &out[axis]))
      throw Error(ErrorKind::kInput, "the extents of axis " + std::to_string(axis) + " overflow");
  }
  return out;
}

std::vector<TensorType> infer(const Node& node, Operands in) {
  std::vector<const Shape*> shapes;
  for (const Operand& x : in) {
    if (!x) throw Error(ErrorKind::kInput, "an input is left out, which Concat does not allow");
    if (x.type->dtype != in[0].type->dtype) {
      throw Error(ErrorKind::kInput, "inputs of " + std::string(to_string(in[0].type->dtype)) +
                                         " and " + std::string(to_string(x.type->dtype)) +
                                         " must have one element type");
    }
    shapes.push_back(&x.shape());
  }
  return {{in[0].type->dtype, concat_shape(node, shapes)}};
}

void tie(const Graph& graph, const Node& node, ChannelSlots& slots) {
  const ValueId y = node.outputs[0];
  const size_t rank = graph.shape(y).size(), axis = axis_attribute(node, 1, rank);
  int64_t offset = 0;
  for (ValueId x : node.inputs) {
    for (size_t a = 0; a < rank; ++a) {
      if (a == axis) {
        slots.tie_at(dim_of(x, a), dim_of(y, a), offset);
      } else {
        slots.tie(dim_of(x, a), dim_of(y, a));
      }
    }
    slots.free(dim_of(y, axis));
    offset += graph.shape(x)[axis];
  }
}

Tensor concat(std::span<const Tensor> in, const Shape& shape, size_t axis) {
  Tensor y = Tensor::uninitialized(in[0].dtype(), shape);
  const size_t size = element_size(y.dtype());
  const int64_t outer = extent_product(shape, 0, axis);
  const auto pitch = static_cast<size_t>(extent_product(shape, axis, shape.size())) * size;
  std::byte* to = y.mutable_bytes().data();
  for (const Tensor& x : in) {
    const auto row = static_cast<size_t>(extent_product(x.shape(), axis, shape.size())) * size;
    const std::byte* from = x.bytes().data();
    for (int64_t o = 0; row > 0 && o < outer; ++o, from += row)
      std::memcpy(to + static_cast<size_t>(o) * pitch, from, row);
    to += row;
  }
  return y;
}

std::vector<Tensor> eval(const Node& node, std::span<const Tensor* const> in) {
  std::vector<const Shape*> shapes;
  std::vector<Tensor> sources;
  for (const Tensor* x : in) {
    if (!x) throw Error(ErrorKind::kInput, "an input is left out, which Concat does not allow");
    shapes.push_back(&x->shape());
    sources.push_back(*x);
  }
  const Shape shape = concat_shape(node, shapes);
  const size_t axis = axis_attribute(node, 1, shape.size());
  return move_elements(sources, [&](std::span<const Tensor> x) {
    return std::vector<Tensor>{concat(x, shape, axis)};
  });
}

}  // namespace

extern const OpDef kConcat;
constinit const OpDef kConcat = {
    .name = "Concat",
    .max_inputs = OpDef::kVariadic,
    .infer = infer,
    .tie = tie,
    .channels =
        "an operand's channels are a range of the output's; other axes go together in all operands",
    .eval = eval,
    .native_half = true,
    .quant = Quant::kRescale};

}  // namespace pare
