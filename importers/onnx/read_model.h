#pragma once

#include <onnx/onnx_pb.h>

#include <cstddef>
#include <span>
#include <string>

namespace pare {

// None of these names the file in what it throws.

/// Checks that a model is one this tool reads: a graph, IR version 3 or newer, opset 7 or newer.
/// Throws Error(kInput) or Error(kUnsupported).
void check_model(const onnx::ModelProto& model);

/// Parses any message of ONNX; `what` says which one was expected. Throws Error(kInput).
void read_message(std::span<const std::byte> bytes, const std::string& what,
                  google::protobuf::Message& message);

/// Parts of it: throws unless there are bytes, and no more than protobuf takes.
void check_size(std::span<const std::byte> bytes, const std::string& what);
/// Adds fields to `message`, which lies `depth` messages deep in the file.
void merge_message(std::span<const std::byte> bytes, const std::string& what, int depth,
                   google::protobuf::Message& message);

/// "ai.onnx" is the long name of the default domain.
inline std::string normal_domain(const std::string& domain) {
  return domain == "ai.onnx" ? std::string() : domain;
}

}  // namespace pare
