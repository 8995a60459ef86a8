#pragma once

#include <onnx/onnx_pb.h>

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "onnx_proto/tensor_codec.h"
#include "support/file.h"

namespace pare {

/// A parsed model whose initializers' raw data has stayed in the file, so that weights are held
/// once: nothing but the tensors made of them takes memory.
class ModelFile {
 public:
  /// Parses `bytes`, which are the whole of `file`. Throws Error(kInput) for what is no message of
  /// that kind.
  explicit ModelFile(std::shared_ptr<const MappedFile> file);

  onnx::ModelProto model;

  /// The raw data of initializer `i`, in memory of its own; nothing where it has none.
  std::optional<ExternalBytes> raw_data(size_t i) const;

 private:
  using Bytes = std::span<const std::byte>;

  void parse_graph(Bytes bytes);
  void parse_initializer(Bytes bytes);

  std::shared_ptr<const MappedFile> file_;
  std::vector<std::optional<Bytes>> raw_;  ///< By initializer.
};

}  // namespace pare
