#pragma once

#include <memory>

#include "passes/pass.h"

namespace pare {

/// Removes nodes whose outputs nothing uses, whatever they compute: operators of ONNX have no side
/// effects.
std::unique_ptr<Pass> make_remove_dead_nodes();

}  // namespace pare
