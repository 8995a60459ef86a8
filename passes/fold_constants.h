#pragma once

#include <memory>

#include "passes/pass.h"

namespace pare {

/// Computes beforehand what does not depend on the model's inputs:
///
///   - nodes whose operands are all constants, Constant nodes among them
///   - shape arithmetic whose value is known at the model's fixed extents
///
/// Left alone: what depends on a symbolic extent, random operators, DequantizeLinear (its operand
/// is the compact form), nodes that produce an output of the model, and results so large that the
/// model would grow to more than twice its size (1 MB of growth is always allowed).
std::unique_ptr<Pass> make_fold_constants();

}  // namespace pare
