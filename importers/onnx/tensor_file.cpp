#include "importers/onnx/tensor_file.h"

#include <onnx/onnx_pb.h>

#include "importers/onnx/read_model.h"
#include "onnx_proto/tensor_codec.h"
#include "support/file.h"

namespace pare {

Tensor read_tensor_pb(const std::string& path) {
  const auto file = MappedFile::open(path);
  return with_context([&] { return path; },
                      [&] {
                        onnx::TensorProto proto;
                        read_message(file->bytes(), "TensorProto", proto);
                        return take_tensor(proto, no_external_data);
                      });
}

}  // namespace pare
