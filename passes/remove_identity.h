#pragma once

#include <memory>

#include "passes/pass.h"

namespace pare {

/// Removes nodes that hand their operand on unchanged:
///
///   Identity, Dropout in inference, Cast to the same type, Transpose that keeps the order,
///   Reshape/Flatten/Squeeze/Unsqueeze/Expand to the same static shape, Pad and Slice of nothing,
///   Concat/Sum/Max/Min/Mean of one
///
/// The names of the model's inputs and outputs stay; a node that leads straight from an input (or a
/// constant, or another output) to an output therefore stays too.
std::unique_ptr<Pass> make_remove_identity();

}  // namespace pare
