#pragma once

#include <onnx/onnx_pb.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tensor/types.h"

namespace pare {

/// Extents of symbolic dims. Those of graph inputs are bound, by the user or to 1; a symbol that no
/// input has (a count of detections) stays unknown unless the user names it.
class Symbols {
 public:
  /// Throws Error(kUsage) for an extent below 1.
  explicit Symbols(std::map<std::string, int64_t> bind);

  struct Input {
    TensorType type;
    std::vector<std::string> names;  ///< By axis, "" for a fixed one; empty when all are fixed.
    bool dynamic = false;            ///< Some extent is not fixed.
  };
  /// The type of a graph input with its symbols bound. An unnamed one becomes "?0", "?1", ...
  Input bind_input(const onnx::ValueInfoProto& info);

  /// The declared type of another value, -1 for extents that are not known.
  TensorType declared(const onnx::ValueInfoProto& info) const;

  /// "N=1, ?0=1", the symbols nobody gave an extent; empty when there are none.
  std::string defaults() const;

 private:
  std::string unnamed_symbol();
  int64_t bind_symbol(const std::string& name);

  std::map<std::string, int64_t> bind_;
  std::map<std::string, int64_t> bound_;
  std::vector<std::string> defaulted_;
  int unnamed_ = 0;
};

}  // namespace pare
