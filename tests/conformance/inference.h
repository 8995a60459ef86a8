#pragma once

#include <string>

#include "ir/graph.h"

namespace pare::conformance {

/// Says how the type or the propagated content inferred for `value` differs from the tensor it
/// turned out to be; empty when they agree. Extents of a value that depends on a symbolic dim are
/// not held: they were inferred for another binding.
std::string contradiction(const Value& value, const Tensor& tensor);

}  // namespace pare::conformance
