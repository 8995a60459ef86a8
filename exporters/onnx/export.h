#pragma once

#include <string>

#include "ir/graph.h"

namespace pare {

struct ExportOptions {
  /// Writes weights to `<file>.data` beside the model; done anyway when the model exceeds 2 GB.
  bool external_data = false;
};

/// Writes `graph` as an ONNX file: beside the target, synced, then renamed over it, so that a
/// failure leaves nothing half-written. Same graph, same bytes. Throws Error(kUsage) when the
/// target is the file the graph was read from or cannot be written.
void export_onnx(const Graph& graph, const std::string& path, const ExportOptions& options = {});

}  // namespace pare
