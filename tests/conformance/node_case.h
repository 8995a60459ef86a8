#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "conformance/close.h"

namespace pare::conformance {

enum class Status : uint8_t { kPass, kFail, kSkip };

/// How one backend test ended; `reason` is empty for a pass.
struct Outcome {
  Status status = Status::kPass;
  std::string reason;
};

/// Runs the backend test in `folder` (model.onnx and test_data_set_<i>/): imports the model,
/// executes it on every data set, and holds against what is expected
///   - the outputs,
///   - the type inferred for every value,
///   - the types and values inferred when all inputs but the first are constants,
///   - the outputs of the compiled plan, with all inputs given and with all but the first constant.
/// Skips what the tool says it cannot do: an op without a row or without `eval`, values that are
/// no tensors, Error(kUnsupported). With `op` not empty, tests without a node of that op are
/// skipped with the reason "filtered".
Outcome run_case(const std::filesystem::path& folder, const std::string& op, Tolerance tolerance);

}  // namespace pare::conformance
