#pragma once

#include <google/protobuf/io/coded_stream.h>
#include <onnx/onnx_pb.h>

#include <cstdint>
#include <string>
#include <vector>

#include "ir/graph.h"

namespace pare {

/// The initializers of a model on their way into a file, one at a time and straight from the
/// tensors, so that no second copy of all weights is ever in memory.
class Weights {
 public:
  void add(const Value& value);

  /// Moves weights of 1 KiB and more out of the model, to `location` beside it. Returns whether
  /// there are any.
  bool move_out(const std::string& location);

  /// Bytes of the `initializer` fields of a GraphProto, and those fields.
  uint64_t size() const;
  void write(google::protobuf::io::CodedOutputStream& out) const;

  /// The contents of the file that move_out() promised.
  void write_moved(google::protobuf::io::CodedOutputStream& out) const;

 private:
  struct Entry {
    onnx::TensorProto proto;  ///< All but the raw bytes.
    TensorRef tensor;
    uint64_t raw_size;
    bool moved = false;
  };

  static uint64_t message_size(const Entry& entry);

  std::vector<Entry> entries_;
};

}  // namespace pare
