#pragma once

#include "exec/plan_builder.h"

namespace pare {

/// The geometry of a convolution in oneDNN's words.
struct ConvGeometry {
  Dims strides, dilations, pad_begin, pad_end;
  Shape weight_dims, weight_strides;  ///< [O, I, kernel...], with a group axis in front if grouped.
};

/// Of a Conv, ConvTranspose or QLinearConv with these weights.
ConvGeometry conv_geometry(const Graph& graph, const Node& node, ValueId weights);

}  // namespace pare
