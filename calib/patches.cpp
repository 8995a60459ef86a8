#include "calib/patches.h"

#include <algorithm>

#include "ir/window.h"

namespace pare {
namespace {

/// Elements as float: the tensor itself, or `storage` where they had to be converted.
std::span<const float> floats(const Tensor& tensor, Tensor& storage) {
  if (tensor.dtype() == DType::kF32) return tensor.data<float>();
  storage = cast(tensor, DType::kF32);
  return storage.data<float>();
}

/// A stride per axis such that the grid has about `wanted` points: doubling is too coarse, so the
/// axis with the most points left is thinned by one step at a time.
std::vector<int64_t> grid_steps(std::span<const int64_t> extents, int64_t wanted) {
  std::vector<int64_t> steps(extents.size(), 1);
  const auto points = [&](size_t axis) { return (extents[axis] + steps[axis] - 1) / steps[axis]; };
  for (;;) {
    int64_t total = 1;
    size_t densest = 0;
    for (size_t axis = 0; axis < steps.size(); ++axis) {
      total *= points(axis);
      if (points(axis) > points(densest)) densest = axis;
    }
    if (total <= wanted || steps.empty() || points(densest) <= 1) return steps;
    ++steps[densest];
  }
}

/// All points of the grid, as linear indices, with offset number `phase` of its cell.
std::vector<int64_t> grid_points(std::span<const int64_t> extents,
                                 const std::vector<int64_t>& steps, int64_t phase) {
  std::vector<int64_t> points = {0};
  for (size_t axis = 0; axis < steps.size(); ++axis) {
    const int64_t offset = phase % steps[axis];
    phase /= steps[axis];
    std::vector<int64_t> finer;
    for (int64_t point : points) {
      for (int64_t i = offset; i < extents[axis]; i += steps[axis])
        finer.push_back(point * extents[axis] + i);
    }
    points = std::move(finer);
  }
  return points;
}

}  // namespace

std::optional<PatchView> PatchView::of(const Graph& graph, NodeId id) {
  const std::optional<WeightedNode> weighted = weighted_node(graph, id);
  const Node& node = graph.node(id);
  if (!weighted || !weighted->constant || node.op == "ConvTranspose") return {};
  const DType dtype = graph.type(weighted->weight_input.value).dtype;
  if (!is_float(dtype) || graph.type(weighted->input.value).dtype != dtype) return {};
  if (node.op == "Gemm" && (weighted->input.axis == 0 || node.attribute("alpha", 1.0f) != 1.0f ||
                            node.attribute("beta", 1.0f) != 1.0f))
    return {};
  if (weighted->bias != kNoValue && !graph.constant(weighted->bias)) return {};
  const Shape& weight = graph.shape(weighted->weight_input.value);
  PatchView view;
  view.weighted_ = *weighted;
  view.output_first_ = weighted->weight_output.axis == 0;
  const int64_t all_outputs = weight[static_cast<size_t>(weighted->weight_output.axis)];
  const int64_t channels = weight[static_cast<size_t>(weighted->weight_input.axis)];
  if (weighted->groups < 1 || all_outputs % weighted->groups != 0 || channels < 1) return {};
  if (const Tensor* bias = graph.constant(weighted->bias);
      bias && bias->size() != 1 && bias->size() != all_outputs)
    return {};
  view.outputs_ = all_outputs / weighted->groups;
  if (node.op == "Conv") {
    view.window_ =
        sliding_window(node, graph.shape(weighted->input.value), kernel_of_weight(node, weight));
    view.taps_ = view.window_->taps();
  }
  view.inputs_ = channels * view.taps_;
  return view.outputs_ > 0 && view.taps_ > 0 ? std::optional(view) : std::nullopt;
}

Positions PatchView::positions(const Shape& output, int64_t images, int64_t first_image,
                               int64_t per_image) const {
  Positions result;
  if (!window_) {
    const int64_t rows = element_count(output) / std::max<int64_t>(1, output.back());
    const int64_t wanted = std::max<int64_t>(1, images * per_image);
    const int64_t step = std::max<int64_t>(1, (rows + wanted - 1) / wanted);
    for (int64_t row = first_image % step; row < rows; row += step) result.place.push_back(row);
    return result;
  }
  const std::span<const int64_t> space = std::span(output).subspan(2);
  const int64_t batch = output[0];
  // The batch axis may hold windows or frames of an image; the places asked for are shared out.
  const int64_t wanted = std::max<int64_t>(1, images * per_image / std::max<int64_t>(1, batch));
  const std::vector<int64_t> steps = grid_steps(space, wanted);
  for (int64_t n = 0; n < batch; ++n) {
    for (int64_t place : grid_points(space, steps, first_image + n)) {
      result.image.push_back(n);
      result.place.push_back(place);
    }
  }
  return result;
}

void PatchView::read_patches(const Tensor& x, const Positions& positions,
                             std::vector<float>& rows) const {
  const int64_t width = groups() * inputs_;
  rows.resize(static_cast<size_t>(positions.size() * width));
  Tensor storage;
  const std::span<const float> data = floats(x, storage);
  const int64_t channels = width / taps_;
  PARE_CHECK(window_ ? x.size() == x.shape()[0] * channels * window_->input_size()
                     : x.shape().back() == width,
             "activations differ from the shapes the graph was inferred for");
  for (int64_t r = 0; r < positions.size(); ++r) {
    const int64_t place = positions.place[static_cast<size_t>(r)];
    float* row = rows.data() + r * width;
    if (!window_) {
      std::copy_n(data.data() + place * width, width, row);
    } else {
      const int64_t image = positions.image[static_cast<size_t>(r)];
      patch(*window_, channels, data.data() + image * channels * window_->input_size(), place, row);
    }
  }
}

void PatchView::read_outputs(const Tensor& y, const Positions& positions,
                             std::vector<float>& rows) const {
  const auto axis = static_cast<size_t>(weighted_.output.axis);
  const int64_t channels = y.shape()[axis];
  rows.resize(static_cast<size_t>(positions.size() * channels));
  Tensor storage;
  const std::span<const float> data = floats(y, storage);
  int64_t area = 1;
  for (size_t i = axis + 1; i < y.shape().size(); ++i) area *= y.shape()[i];
  for (int64_t r = 0; r < positions.size(); ++r) {
    const int64_t place = positions.place[static_cast<size_t>(r)];
    const int64_t first = window_
                              ? positions.image[static_cast<size_t>(r)] * channels * area + place
                              : place * channels;
    for (int64_t c = 0; c < channels; ++c)
      rows[static_cast<size_t>(r * channels + c)] = data[static_cast<size_t>(first + c * area)];
  }
}

int64_t PatchView::weight_index(int64_t group, int64_t input, int64_t output) const {
  return output_first_ ? (group * outputs_ + output) * inputs_ + input
                       : input * outputs_ * groups() + group * outputs_ + output;
}

std::vector<Matrix> PatchView::matrices(const Graph& graph) const {
  Tensor weight_storage, bias_storage;
  const std::span<const float> weight =
      floats(*graph.constant(weighted_.weight_input.value), weight_storage);
  const Tensor* bias = graph.constant(weighted_.bias);
  std::vector<Matrix> result;
  for (int64_t g = 0; g < groups(); ++g) {
    Matrix& m = result.emplace_back(inputs_ + 1, outputs_);
    for (int64_t i = 0; i < inputs_; ++i) {
      for (int64_t o = 0; o < outputs_; ++o)
        m.row(i)[o] = static_cast<double>(weight[static_cast<size_t>(weight_index(g, i, o))]);
    }
    if (!bias) continue;
    const std::span<const float> b = floats(*bias, bias_storage);
    for (int64_t o = 0; o < outputs_; ++o)  // A Gemm's may be broadcast from one number.
      m.row(inputs_)[o] =
          static_cast<double>(b[b.size() == 1 ? 0 : static_cast<size_t>(g * outputs_ + o)]);
  }
  return result;
}

Tensor PatchView::weight_of(const Graph& graph, const std::vector<Matrix>& matrices) const {
  const TensorType& type = graph.type(weighted_.weight_input.value);
  Tensor result(DType::kF32, type.shape);
  const std::span<float> weight = result.mutable_data<float>();
  for (int64_t g = 0; g < groups(); ++g) {
    const Matrix& m = matrices[static_cast<size_t>(g)];
    for (int64_t i = 0; i < inputs_; ++i) {
      for (int64_t o = 0; o < outputs_; ++o)
        weight[static_cast<size_t>(weight_index(g, i, o))] = static_cast<float>(m.row(i)[o]);
    }
  }
  return type.dtype == DType::kF32 ? result : cast(result, type.dtype);
}

Tensor PatchView::bias_of(const Graph& graph, const std::vector<Matrix>& matrices) const {
  Tensor result(DType::kF32, {groups() * outputs_});
  const std::span<float> bias = result.mutable_data<float>();
  for (int64_t g = 0; g < groups(); ++g) {
    for (int64_t o = 0; o < outputs_; ++o)
      bias[static_cast<size_t>(g * outputs_ + o)] =
          static_cast<float>(matrices[static_cast<size_t>(g)].row(inputs_)[o]);
  }
  const DType dtype = graph.type(weighted_.weight_input.value).dtype;
  return dtype == DType::kF32 ? result : cast(result, dtype);
}

}  // namespace pare
