// ONNX CenterCropPad and Col2Im.
// https://onnx.ai/onnx/operators/onnx__CenterCropPad.html, onnx__Col2Im.html

#include <algorithm>
#include <numeric>

#include "ir/channel_slots.h"
#include "ops/axes.h"
#include "ops/movement.h"

namespace pare {
namespace {

// -- CenterCropPad
// -----------------------------------------------------------------------------------

std::vector<size_t> cropped_axes(const Node& node, size_t rank) {
  if (node.has_attribute("axes"))
    return normalize_axes(node.attribute<std::vector<int64_t>>("axes", {}), rank);
  std::vector<size_t> axes(rank);
  std::iota(axes.begin(), axes.end(), size_t{0});
  return axes;
}

/// `target` must be known.
Shape cropped_shape(const Node& node, const Shape& in, const std::vector<int64_t>& target) {
  const std::vector<size_t> axes = cropped_axes(node, in.size());
  if (target.size() != axes.size() ||
      std::ranges::any_of(target, [](int64_t e) { return e < 0; })) {
    throw Error(ErrorKind::kInput, "target " + to_string(target) + " does not give " +
                                       std::to_string(axes.size()) + " extents");
  }
  Shape out = in;
  for (size_t i = 0; i < axes.size(); ++i) out[axes[i]] = target[i];
  return out;
}

std::vector<TensorType> infer_crop(const Node& node, Operands in) {
  const IntList target = int_list(node, {}, in, 1);
  TensorType type = *in[0].type;
  if (target.known) {
    type.shape = cropped_shape(node, type.shape, target.values);
  } else {
    for (size_t a : cropped_axes(node, type.shape.size())) type.shape[a] = -1;
  }
  return {type};
}

void tie_crop(const Graph& graph, const Node& node, ChannelSlots& slots) {
  const ValueId x = node.inputs[0], y = node.outputs[0];
  const size_t rank = graph.shape(x).size();
  const std::vector<size_t> axes = cropped_axes(node, rank);
  for (size_t a = 0; a < rank; ++a) {
    if (std::ranges::find(axes, a) == axes.end()) slots.tie(dim_of(x, a), dim_of(y, a));
  }
  for (ValueId value : {x, node.inputs[1], y}) slots.fix_rest(value);
}

std::vector<Tensor> eval_crop(const Node& node, std::span<const Tensor* const> in) {
  const Shape& shape = in[0]->shape();
  const Shape out = cropped_shape(node, shape, to_int64(*in[1]));
  if (element_count(out) == 0) return {Tensor(in[0]->dtype(), out)};
  std::vector<std::vector<int64_t>> maps;
  for (size_t a = 0; a < shape.size(); ++a) {
    const int64_t lost = shape[a] - out[a];
    const int64_t first = lost >= 0 ? lost / 2 : -(-lost / 2);
    std::vector<int64_t>& map = maps.emplace_back();
    for (int64_t o = 0; o < out[a]; ++o) {
      const int64_t i = o + first;
      map.push_back(i >= 0 && i < shape[a] ? i : -1);
    }
  }
  const Tensor zero(in[0]->dtype(), {});
  return {mapped_copy(*in[0], maps, zero.bytes())};
}

// -- Col2Im
// ------------------------------------------------------------------------------------------

/// One spatial axis.
struct Window {
  int64_t image, block, stride, dilation, pad, steps;
};

int64_t entry(const Node& node, std::string_view name, size_t i, size_t count, int64_t fallback) {
  const auto list = node.attribute<std::vector<int64_t>>(name, {});
  if (list.empty()) return fallback;
  if (list.size() != count)
    throw Error(ErrorKind::kInput, std::string(name) + " has the wrong length");
  return list[i];
}

std::vector<Window> windows_of(const Node& node, const std::vector<int64_t>& image,
                               const std::vector<int64_t>& block) {
  const size_t axes = image.size();
  constexpr int64_t kMost = int64_t{1} << 31;
  std::vector<Window> windows;
  bool fits = axes == block.size();
  for (size_t a = 0; fits && a < axes; ++a) {
    Window w = {.image = image[a],
                .block = block[a],
                .stride = entry(node, "strides", a, axes, 1),
                .dilation = entry(node, "dilations", a, axes, 1),
                .pad = entry(node, "pads", a, 2 * axes, 0)};
    const int64_t after = entry(node, "pads", axes + a, 2 * axes, 0);
    for (int64_t extent : {w.image, w.block, w.stride, w.dilation})
      fits = fits && extent > 0 && extent < kMost;
    fits = fits && w.pad >= 0 && w.pad < kMost && after >= 0 && after < kMost;
    if (!fits) break;
    const int64_t room = w.image + w.pad + after - w.dilation * (w.block - 1) - 1;
    w.steps = room < 0 ? 0 : room / w.stride + 1;
    windows.push_back(w);
  }
  if (!fits) {
    throw Error(ErrorKind::kInput, "image_shape " + to_string(image) + " with block_shape " +
                                       to_string(block) + " has a window that cannot be");
  }
  return windows;
}

Shape image_shape(const Shape& in, const std::vector<Window>& windows) {
  Shape steps, block;
  for (const Window& w : windows) steps.push_back(w.steps), block.push_back(w.block);
  const int64_t columns = element_count(steps), size = element_count(block);
  if (in.size() != 3 || in[2] != columns || in[1] % size != 0) {
    throw Error(ErrorKind::kInput, "input " + to_string(in) + " is not [N,C*" +
                                       std::to_string(size) + "," + std::to_string(columns) + "]");
  }
  Shape out = {in[0], in[1] / size};
  for (const Window& w : windows) out.push_back(w.image);
  return out;
}

std::vector<TensorType> infer_col2im(const Node& node, Operands in) {
  const IntList image = int_list(node, {}, in, 1), block = int_list(node, {}, in, 2);
  const DType dtype = in[0].type->dtype;
  if (!image.known || !block.known) return {TensorType::unknown(dtype)};
  return {{dtype, image_shape(in[0].shape(), windows_of(node, image.values, block.values))}};
}

/// Where element `tap` of the block lands for window step `step`, -1 in the padding.
int64_t landing(const std::vector<Window>& windows, int64_t tap, int64_t step) {
  int64_t offset = 0, pitch = 1;
  for (size_t a = windows.size(); a-- > 0;) {
    const Window& w = windows[a];
    const int64_t i = step % w.steps * w.stride + tap % w.block * w.dilation - w.pad;
    if (i < 0 || i >= w.image) return -1;
    offset += i * pitch;
    pitch *= w.image;
    step /= w.steps, tap /= w.block;
  }
  return offset;
}

std::vector<Tensor> eval_col2im(const Node& node, std::span<const Tensor* const> in) {
  const std::vector<Window> windows = windows_of(node, to_int64(*in[1]), to_int64(*in[2]));
  const Tensor x = cast(*in[0], DType::kF32);
  const Shape shape = image_shape(x.shape(), windows);
  const int64_t columns = x.shape()[2], size = shape[1] > 0 ? x.shape()[1] / shape[1] : 0;
  const int64_t plane = extent_product(shape, 2, shape.size());
  Tensor y(DType::kF32, shape);
  const float* from = x.data<float>().data();
  float* to = y.mutable_data<float>().data();
  for (int64_t image = 0; image < shape[0] * shape[1]; ++image, to += plane) {
    for (int64_t tap = 0; tap < size; ++tap) {
      for (int64_t step = 0; step < columns; ++step, ++from) {
        const int64_t offset = landing(windows, tap, step);
        if (offset >= 0) to[offset] += *from;
      }
    }
  }
  return {cast(y, in[0]->dtype())};
}

}  // namespace

extern const OpDef kCenterCropPad;
constinit const OpDef kCenterCropPad = {
    .name = "CenterCropPad",
    .min_inputs = 2,
    .max_inputs = 2,
    .infer = infer_crop,
    .tie = tie_crop,
    .channels = "axes that are cropped or padded stay; others pass through",
    .eval = eval_crop,
    .native_half = true,
    .quant = Quant::kPassThrough};

extern const OpDef kCol2Im;
constinit const OpDef kCol2Im = {
    .name = "Col2Im", .min_inputs = 3, .max_inputs = 3, .infer = infer_col2im, .eval = eval_col2im};

}  // namespace pare
