#include "exec/conv_geometry.h"

#include "ir/window.h"

namespace pare {
namespace {

Dims innermost(const Window::Axes& axes, size_t rank, int64_t less = 0) {
  Dims dims;
  for (size_t i = 3 - rank; i < 3; ++i) dims.push_back(axes[i] - less);
  return dims;
}

/// Padding at the end with which the formula for the output's extents holds exactly.
Dims exact_pad_end(const Window& window, size_t rank) {
  Dims pads;
  for (size_t i = 3 - rank; i < 3; ++i) {
    const int64_t reach = (window.kernel[i] - 1) * window.dilation[i] + 1;
    pads.push_back((window.output[i] - 1) * window.stride[i] + reach - window.input[i] -
                   window.pad_begin[i]);
  }
  return pads;
}

}  // namespace

ConvGeometry conv_geometry(const Graph& graph, const Node& node, ValueId weights) {
  const Shape &x = graph.shape(node.inputs[0]), &w = graph.shape(weights);
  const size_t rank = x.size() - 2;
  const auto group = node.attribute<int64_t>("group", 1);
  const bool transposed = node.op == "ConvTranspose";
  ConvGeometry g;
  const Shape kernel = kernel_of_weight(node, w);
  const Window window =
      transposed ? transposed_window(node, x, kernel) : sliding_window(node, x, kernel);
  g.strides = innermost(window.stride, rank);
  g.dilations = innermost(window.dilation, rank, 1);
  g.pad_begin = innermost(window.pad_begin, rank);
  g.pad_end = exact_pad_end(window, rank);
  // The file has [O, I/group, ...], transposed [I, O/group, ...].
  g.weight_dims = w;
  g.weight_dims[0] /= group;
  g.weight_strides = dense_strides(w);
  if (transposed) {
    std::swap(g.weight_dims[0], g.weight_dims[1]);
    std::swap(g.weight_strides[0], g.weight_strides[1]);
  }
  if (group > 1) {
    g.weight_dims.insert(g.weight_dims.begin(), group);
    g.weight_strides.insert(g.weight_strides.begin(), w[0] / group * dense_strides(w)[0]);
  }
  return g;
}

}  // namespace pare
