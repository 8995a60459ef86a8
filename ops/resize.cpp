// ONNX Resize (10 to 19) and Upsample (7, 9).
// https://onnx.ai/onnx/operators/onnx__Resize.html, onnx__Upsample.html
//
// Before opset 11 coordinates are asymmetric; nearest then means the element before, or after it
// where an axis shrinks, as ONNX Runtime computes it.

#include <algorithm>
#include <cmath>
#include <numeric>

#include "ir/channel_slots.h"
#include "ops/axes.h"
#include "ops/resample.h"
#include "ops/rewrite.h"

namespace pare {
namespace {

constexpr int64_t kFullForm = 11;  ///< From here on Resize has roi, sizes and modes.
constexpr size_t kSizesSlot = 3;
constexpr float kMaxExtent = 1e12f;

/// What a node says about sizes: one of `scales` and `sizes`, for the axes `axes`.
struct Request {
  bool known = true;  ///< False while inferring from operands that are computed.
  std::vector<float> scales;
  std::vector<int64_t> sizes;
  std::vector<float> roi;
  std::vector<size_t> axes;
};

std::vector<float> to_floats(const Tensor& tensor) {
  const Tensor wide = cast(tensor, DType::kF32);
  const std::span<const float> data = wide.data<float>();
  return {data.begin(), data.end()};
}

/// Operand `slot`, where it is there and not the empty tensor that stands for a left-out one.
bool given(Operands in, size_t slot) {
  return slot < in.size() && in[slot] && in[slot].shape() != Shape{0};
}

size_t scales_slot(const Node& node) {
  return node.op == "Resize" && node.opset >= kFullForm ? 2 : 1;
}

Request request_of(const Node& node, Operands in) {
  Request request;
  const size_t rank = in[0].shape().size(), scales = scales_slot(node);
  const auto axes = node.attribute<std::vector<int64_t>>("axes", {});
  request.axes = normalize_axes(axes, rank);
  if (axes.empty()) {
    request.axes.resize(rank);
    std::iota(request.axes.begin(), request.axes.end(), size_t{0});
  }
  const bool full = scales == 2, by_size = full && given(in, kSizesSlot);
  if (node.has_attribute("scales")) {
    request.scales = node.attribute<std::vector<float>>("scales", {});
  } else if (by_size || given(in, scales)) {
    const Tensor* value = in[by_size ? kSizesSlot : scales].value;
    request.known = value != nullptr;
    if (value && by_size) request.sizes = to_int64(*value);
    if (value && !by_size) request.scales = to_floats(*value);
  }
  if (full && given(in, 1) && in[1].value) request.roi = to_floats(*in[1].value);
  const size_t count = std::max(request.scales.size(), request.sizes.size());
  if (request.known && count != request.axes.size()) {
    throw Error(ErrorKind::kInput, "gives " + std::to_string(count) + " scales or sizes for " +
                                       std::to_string(request.axes.size()) + " axes");
  }
  return request;
}

void check_scale(float scale) {
  if (!(scale > 0) || !std::isfinite(scale))
    throw Error(ErrorKind::kInput, "scale " + std::to_string(scale) + " is not positive");
}

int64_t checked_extent(float extent) {
  if (!(extent >= 0) || extent > kMaxExtent)
    throw Error(ErrorKind::kInput, "an axis would get an extent of " + std::to_string(extent));
  return static_cast<int64_t>(extent);
}

/// Makes the sizes a common factor of the input's, as keep_aspect_ratio_policy asks.
void keep_aspect(const std::string& policy, const std::vector<size_t>& listed,
                 std::vector<AxisScale>& axes) {
  if (policy == "stretch") return;
  if (policy != "not_larger" && policy != "not_smaller")
    throw Error(ErrorKind::kInput, "keep_aspect_ratio_policy '" + policy + "' does not exist");
  float common = axes[listed[0]].scale;
  for (size_t a : listed) {
    common =
        policy == "not_larger" ? std::min(common, axes[a].scale) : std::max(common, axes[a].scale);
  }
  for (size_t a : listed) {
    axes[a].scale = common;
    axes[a].out = checked_extent(std::floor(common * static_cast<float>(axes[a].in) + 0.5f));
  }
}

std::vector<AxisScale> scales_of(const Node& node, const Request& request, const Shape& shape) {
  std::vector<AxisScale> axes;
  for (int64_t extent : shape) axes.push_back({.in = extent, .out = extent, .listed = false});
  for (size_t i = 0; i < request.axes.size(); ++i) {
    AxisScale& axis = axes[request.axes[i]];
    axis.listed = true;
    if (!request.sizes.empty()) {
      (void)checked_extent(static_cast<float>(request.sizes[i]));
      axis.out = request.sizes[i];
      axis.scale = axis.in > 0 ? static_cast<float>(axis.out) / static_cast<float>(axis.in) : 1.0f;
    } else {
      check_scale(request.scales[i]);
      axis.scale = request.scales[i];
      axis.out = checked_extent(std::floor(axis.scale * static_cast<float>(axis.in)));
    }
    if (request.roi.size() == 2 * request.axes.size()) {
      axis.roi_start = request.roi[i];
      axis.roi_end = request.roi[request.axes.size() + i];
    }
  }
  if (!request.sizes.empty() && !request.axes.empty())
    keep_aspect(node.attribute("keep_aspect_ratio_policy", "stretch"), request.axes, axes);
  return axes;
}

/// "bilinear" and "trilinear" were names for linear once.
Sampling sampling_of(const Node& node) {
  Sampling sampling;
  sampling.mode = node.attribute("mode", "nearest");
  if (sampling.mode == "bilinear" || sampling.mode == "trilinear") sampling.mode = "linear";
  if (scales_slot(node) == 1) {
    sampling.coordinates = "asymmetric";
    sampling.rounding = "simple";
    return sampling;
  }
  sampling.coordinates = node.attribute("coordinate_transformation_mode", "half_pixel");
  sampling.rounding = node.attribute("nearest_mode", "round_prefer_floor");
  sampling.cubic_a = node.attribute<float>("cubic_coeff_a", -0.75f);
  sampling.extrapolation = node.attribute<float>("extrapolation_value", 0.0f);
  sampling.exclude_outside = node.attribute<int64_t>("exclude_outside", 0) != 0;
  sampling.antialias = node.attribute<int64_t>("antialias", 0) != 0;
  return sampling;
}

std::vector<TensorType> infer(const Node& node, Operands in) {
  const Request request = request_of(node, in);
  TensorType type = *in[0].type;
  if (!request.known) {
    for (size_t a : request.axes) type.shape[a] = -1;
    return {type};
  }
  const std::vector<AxisScale> axes = scales_of(node, request, type.shape);
  for (size_t a = 0; a < axes.size(); ++a) type.shape[a] = axes[a].out;
  return {type};
}

/// True when the axis comes out as it went in and may shrink without changing the others.
bool passes(const AxisScale& axis, const Node& node, const Sampling& sampling) {
  if (!axis.listed) return true;
  return axis.in == axis.out && axis.scale == 1 &&
         node.attribute("keep_aspect_ratio_policy", "stretch") == "stretch" &&
         (sampling.coordinates == "asymmetric" || sampling.coordinates == "half_pixel" ||
          sampling.coordinates == "pytorch_half_pixel" || sampling.coordinates == "align_corners" ||
          sampling.coordinates == "half_pixel_symmetric");
}

void tie(const Graph& graph, const Node& node, ChannelSlots& slots) {
  const ValueId x = node.inputs[0], y = node.outputs[0];
  const std::vector<Operand> operands = graph.operands(node);
  const Request request = request_of(node, operands);
  if (request.known) {
    const std::vector<AxisScale> axes = scales_of(node, request, graph.shape(x));
    const Sampling sampling = sampling_of(node);
    for (size_t a = 0; a < axes.size(); ++a) {
      if (passes(axes[a], node, sampling)) slots.tie(dim_of(x, a), dim_of(y, a));
    }
  }
  for (ValueId value : node.inputs) slots.fix_rest(value);
  slots.fix_rest(y);
}

/// Sizes repeat the extents of all axes, the channels among them.
void resize(Graph& graph, NodeId id, const ShapeChange& change) {
  const Node& node = graph.node(id);
  const std::vector<Operand> operands = graph.operands(node);
  const Request request = request_of(node, operands);
  if (request.sizes.empty() || node.attribute("keep_aspect_ratio_policy", "stretch") != "stretch")
    return;
  std::vector<int64_t> wanted;
  for (size_t a : request.axes) wanted.push_back(change.new_outputs[0][a]);
  repair_integers(graph, id, kSizesSlot, wanted);
}

std::vector<Tensor> eval(const Node& node, std::span<const Tensor* const> in) {
  std::vector<Operand> operands(in.size());
  for (size_t i = 0; i < in.size(); ++i) {
    if (in[i]) operands[i] = {&in[i]->type(), in[i]};
  }
  const Request request = request_of(node, operands);
  return {resample(*in[0], scales_of(node, request, in[0]->shape()), sampling_of(node))};
}

/// Elements blended per output element, along each axis that changes.
uint64_t other_ops(const Node& node, Operands in, std::span<const TensorType> out) {
  const std::string mode = sampling_of(node).mode;
  if (mode == "nearest") return 0;
  const uint64_t taps = mode == "cubic" ? 4 : 2;
  uint64_t axes = 0;
  for (size_t a = 0; a < out[0].shape.size(); ++a) axes += in[0].shape()[a] != out[0].shape[a];
  return static_cast<uint64_t>(element_count(out[0].shape)) * axes * (2 * taps - 1);
}

// -- Older forms
// -------------------------------------------------------------------------------------

/// The rounding of older opsets in terms of nearest_mode; it must be one for all axes.
std::string old_rounding(const Graph& graph, const Node& node) {
  const std::vector<Operand> operands = graph.operands(node);
  const Request request = request_of(node, operands);
  const auto shrinks = [](float s) { return s < 1; };
  const auto grows = [](float s) { return s > 1; };
  const bool any_shrinks = std::ranges::any_of(request.scales, shrinks);
  if (!request.known || (any_shrinks && std::ranges::any_of(request.scales, grows))) {
    throw Error(ErrorKind::kUnsupported,
                "cannot be converted to a newer opset, because its scales enlarge and shrink");
  }
  return any_shrinks ? "ceil" : "floor";
}

/// Upsample and the Resize of opset 10 become the Resize of opset 11.
void upgrade(Graph& graph, NodeId id, int64_t) {
  const Node& node = graph.node(id);
  if (scales_slot(node) == 2) return;
  const Sampling sampling = sampling_of(node);
  const std::string rounding = sampling.mode == "nearest" ? old_rounding(graph, node) : "floor";
  const ValueId x = node.inputs[0];
  ValueId scales = node.has_input(1) ? node.inputs[1] : kNoValue;
  if (node.has_attribute("scales")) {
    const auto values = node.attribute<std::vector<float>>("scales", {});
    const auto count = static_cast<int64_t>(values.size());
    scales = graph.add_constant(node.name + "_scales", Tensor({count}, values));
    graph.remove_attribute(id, "scales");
  }
  graph.set_op(id, "Resize");
  graph.set_inputs(
      id, {x, graph.add_constant(graph.node(id).name + "_roi", Tensor({0}, std::vector<float>{})),
           scales});
  graph.set_attribute(id, "mode", sampling.mode);
  graph.set_attribute(id, "coordinate_transformation_mode", std::string("asymmetric"));
  graph.set_attribute(id, "nearest_mode", rounding);
}

}  // namespace

extern const OpDef kResize;
constinit const OpDef kResize = {
    .name = "Resize",
    .max_inputs = 4,
    .infer = infer,
    .tie = tie,
    .channels = "axes that are not resized pass through; the rest stays",
    .resize = resize,
    .other_ops = other_ops,
    .eval = eval,
    .quant = Quant::kPassThrough,
    .upgrade = upgrade};

extern const OpDef kUpsample;
constinit const OpDef kUpsample = {
    .name = "Upsample",
    .max_inputs = 2,
    .infer = infer,
    .tie = tie,
    .channels = "axes that are not resized pass through; the rest stays",
    .other_ops = other_ops,
    .eval = eval,
    .quant = Quant::kPassThrough,
    .upgrade = upgrade};

}  // namespace pare
