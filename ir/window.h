#pragma once

#include "ir/graph.h"
#include "tensor/im2col.h"

namespace pare {

/// The sliding window of a Conv or pooling node over an input `x` [N, C, spatial...].
///
/// `kernel` holds the spatial extents of the window. Reads the attributes those ops share: strides,
/// dilations, pads, auto_pad and ceil_mode. With ceil_mode a last window that would start behind
/// the image and its front padding is dropped. Throws Error(kInput) for attributes that do not fit
/// the shape and Error(kUnsupported) for more than three spatial axes.
Window sliding_window(const Node& node, const Shape& x, const Shape& kernel);

/// The window of a ConvTranspose node, seen as that of the Conv whose gradient it is: its `input`
/// is ConvTranspose's output and its `output` ConvTranspose's input `x`. Reads output_padding and
/// output_shape too.
Window transposed_window(const Node& node, const Shape& x, const Shape& kernel);

/// Spatial extents of a weight [O, C/group, spatial...]. Throws Error(kInput) where the rank is
/// below three or attribute kernel_shape says something else.
Shape kernel_of_weight(const Node& node, const Shape& weight);

/// The innermost `rank` of a window's axes, as a shape.
Shape spatial_shape(const Window::Axes& axes, size_t rank);

}  // namespace pare
