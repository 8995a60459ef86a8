#pragma once

#include <onnx/onnx_pb.h>

#include <cstddef>
#include <span>
#include <string>

namespace pare {

/// Parses a model file and checks that it is one this tool reads: a graph, IR version 3 or newer,
/// opset 7 or newer. Throws Error(kInput) or Error(kUnsupported) without naming the file.
onnx::ModelProto read_model(std::span<const std::byte> bytes);

/// Parses any message of ONNX; `what` says which one was expected.
void read_message(std::span<const std::byte> bytes, const std::string& what,
                  google::protobuf::Message& message);

/// "ai.onnx" is the long name of the default domain.
inline std::string normal_domain(const std::string& domain) {
  return domain == "ai.onnx" ? std::string() : domain;
}

}  // namespace pare
