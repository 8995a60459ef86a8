#pragma once

#include <onnx/onnx_pb.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "onnx_proto/tensor_codec.h"
#include "support/file.h"

namespace pare {

/// Tensor data in files beside a model. A location must lead to a file in the model's folder or
/// below it, by name and after following symlinks.
class ExternalData {
 public:
  explicit ExternalData(const std::string& model_path);

  /// The `size` bytes `proto` points at. Throws Error(kInput) for a location, offset or length that
  /// is not allowed or does not fit.
  ExternalBytes find(const onnx::TensorProto& proto, uint64_t size);

  /// Moves external data of every tensor inside `message` into it; for parts of a model that are
  /// carried through as they are, which would otherwise depend on the folder they came from.
  void embed(google::protobuf::Message& message);

 private:
  const std::shared_ptr<const MappedFile>& file(const std::string& location);

  std::filesystem::path folder_;
  std::map<std::string, std::shared_ptr<const MappedFile>> files_;
};

}  // namespace pare
