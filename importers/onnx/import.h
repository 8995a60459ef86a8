#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "ir/graph.h"

namespace pare {

struct ImportOptions {
  /// Extents for symbolic dims by name ("N" -> 1); a symbolic dim not named here is bound to 1.
  std::map<std::string, int64_t> bind;
};

/// Reads an ONNX model: opset 7 and newer, any IR version.
///
/// The file is untrusted: every size, offset and external-data path is checked. Throws
/// Error(kInput) for what is no valid model, Error(kUnsupported) for what cannot be represented;
/// the message names file and place. Everything the tool does not understand is kept for the
/// exporter.
Graph import_onnx(const std::string& path, const OpTable& ops, const ImportOptions& options = {});

}  // namespace pare
