#pragma once

#include <functional>

#include "conformance/node_case.h"

namespace pare::conformance {

/// Runs `body` in a child process, so that a crash or a hang (over `seconds`) is a failed test and
/// not the end of the run.
Outcome isolated(const std::function<Outcome()>& body, unsigned seconds);

}  // namespace pare::conformance
