#pragma once

#include <onnx/onnx_pb.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "ir/graph.h"

// ONNX models put together by code, for tests of the importer and the exporter.
namespace pare::test {

/// A folder of its own, removed with all that is in it.
class TempFolder {
 public:
  TempFolder();
  ~TempFolder();
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  std::string operator/(const std::string& name) const { return (path_ / name).string(); }
  /// Names of what is in the folder, sorted.
  std::vector<std::string> names() const;

 private:
  std::filesystem::path path_;
};

/// Opset 17, IR version 8, no nodes: x f32[N,4] and output y of that type.
onnx::ModelProto empty_model();
/// empty_model() with y = Relu(x).
onnx::ModelProto relu_model();

/// A dim below 0 is written as the symbol "N".
onnx::ValueInfoProto tensor_info(const std::string& name, const std::vector<int64_t>& dims,
                                 int32_t data_type = onnx::TensorProto::FLOAT);
onnx::NodeProto& add_node(onnx::GraphProto& graph, const std::string& op,
                          const std::vector<std::string>& inputs,
                          const std::vector<std::string>& outputs);
/// A float initializer with raw data 0, 1, 2, ...
onnx::TensorProto& add_weight(onnx::GraphProto& graph, const std::string& name,
                              const std::vector<int64_t>& dims);
/// An attribute that holds a subgraph without nodes, inputs and outputs.
onnx::GraphProto& add_subgraph(onnx::NodeProto& node, const std::string& attribute);
/// y = If(c) with branches that give x + w and w, all captured; c is a constant.
onnx::ModelProto if_model();
/// Adds a length-delimited field with a number that no ONNX message has.
void add_unknown_field(google::protobuf::Message& message, const std::string& text);

std::string write_bytes(const std::string& path, const std::string& bytes);
/// Writes the model and returns the path.
std::string write_model(const std::string& path, const onnx::ModelProto& model);
std::string read_bytes(const std::string& path);
onnx::ModelProto read_model_file(const std::string& path);

/// Through a file and the importer, verified.
Graph import_model(const onnx::ModelProto& model);
/// Through the exporter and a file.
onnx::ModelProto export_model(const Graph& graph);

/// The value named `name`. Throws Error(kInternal) when there is none.
ValueId value_named(const Graph& graph, const std::string& name);

}  // namespace pare::test
