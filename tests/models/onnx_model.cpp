#include "models/onnx_model.h"

#include <stdlib.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "exporters/onnx/export.h"
#include "importers/onnx/import.h"
#include "ops/ops.h"

namespace pare::test {

namespace fs = std::filesystem;

TempFolder::TempFolder() {
  std::string pattern = (fs::temp_directory_path() / "pare-test-XXXXXX").string();
  PARE_CHECK(::mkdtemp(pattern.data()), "no temporary folder");
  path_ = pattern;
}

TempFolder::~TempFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

std::vector<std::string> TempFolder::names() const {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(path_))
    names.push_back(entry.path().filename().string());
  std::ranges::sort(names);
  return names;
}

onnx::ValueInfoProto tensor_info(const std::string& name, const std::vector<int64_t>& dims,
                                 int32_t data_type) {
  onnx::ValueInfoProto info;
  info.set_name(name);
  auto& tensor = *info.mutable_type()->mutable_tensor_type();
  tensor.set_elem_type(data_type);
  tensor.mutable_shape();
  for (int64_t extent : dims) {
    auto& dim = *tensor.mutable_shape()->add_dim();
    if (extent < 0) {
      dim.set_dim_param("N");
    } else {
      dim.set_dim_value(extent);
    }
  }
  return info;
}

onnx::ModelProto empty_model() {
  onnx::ModelProto model;
  model.set_ir_version(8);
  auto& opset = *model.add_opset_import();
  opset.set_domain("");
  opset.set_version(17);
  model.mutable_graph()->set_name("test");
  *model.mutable_graph()->add_input() = tensor_info("x", {-1, 4});
  *model.mutable_graph()->add_output() = tensor_info("y", {-1, 4});
  return model;
}

onnx::ModelProto relu_model() {
  onnx::ModelProto model = empty_model();
  add_node(*model.mutable_graph(), "Relu", {"x"}, {"y"});
  return model;
}

onnx::NodeProto& add_node(onnx::GraphProto& graph, const std::string& op,
                          const std::vector<std::string>& inputs,
                          const std::vector<std::string>& outputs) {
  onnx::NodeProto& node = *graph.add_node();
  node.set_op_type(op);
  for (const std::string& input : inputs) node.add_input(input);
  for (const std::string& output : outputs) node.add_output(output);
  return node;
}

onnx::TensorProto& add_weight(onnx::GraphProto& graph, const std::string& name,
                              const std::vector<int64_t>& dims) {
  onnx::TensorProto& tensor = *graph.add_initializer();
  tensor.set_name(name);
  tensor.set_data_type(onnx::TensorProto::FLOAT);
  size_t count = 1;
  for (int64_t extent : dims) {
    tensor.add_dims(extent);
    count *= static_cast<size_t>(extent);
  }
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i) values[i] = static_cast<float>(i);
  tensor.set_raw_data(values.data(), count * sizeof(float));
  return tensor;
}

onnx::GraphProto& add_subgraph(onnx::NodeProto& node, const std::string& attribute) {
  onnx::AttributeProto& entry = *node.add_attribute();
  entry.set_name(attribute);
  entry.set_type(onnx::AttributeProto::GRAPH);
  entry.mutable_g()->set_name(attribute);
  return *entry.mutable_g();
}

onnx::ModelProto if_model() {
  onnx::ModelProto model = empty_model();
  onnx::GraphProto& graph = *model.mutable_graph();
  add_weight(graph, "w", {4});
  onnx::TensorProto& condition = *graph.add_initializer();
  condition.set_name("c");
  condition.set_data_type(onnx::TensorProto::BOOL);
  condition.add_int32_data(1);
  onnx::NodeProto& node = add_node(graph, "If", {"c"}, {"y"});
  onnx::GraphProto& then_branch = add_subgraph(node, "then_branch");
  add_node(then_branch, "Add", {"x", "w"}, {"sum"});
  *then_branch.add_output() = tensor_info("sum", {-1, 4});
  onnx::GraphProto& else_branch = add_subgraph(node, "else_branch");
  add_node(else_branch, "Identity", {"w"}, {"same"});
  *else_branch.add_output() = tensor_info("same", {4});
  return model;
}

void add_unknown_field(google::protobuf::Message& message, const std::string& text) {
  constexpr int kNoOnnxField = 1234;
  message.GetReflection()->MutableUnknownFields(&message)->AddLengthDelimited(kNoOnnxField, text);
}

std::string write_bytes(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
  return path;
}

std::string write_model(const std::string& path, const onnx::ModelProto& model) {
  return write_bytes(path, model.SerializeAsString());
}

std::string read_bytes(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

onnx::ModelProto read_model_file(const std::string& path) {
  onnx::ModelProto model;
  PARE_CHECK(model.ParseFromString(read_bytes(path)), "the written model cannot be parsed");
  return model;
}

Graph import_model(const onnx::ModelProto& model) {
  const TempFolder folder;
  Graph graph = import_onnx(write_model(folder / "in.onnx", model), onnx_ops());
  verify(graph);
  return graph;
}

onnx::ModelProto export_model(const Graph& graph) {
  verify(graph);
  const TempFolder folder;
  export_onnx(graph, folder / "out.onnx");
  return read_model_file(folder / "out.onnx");
}

ValueId value_named(const Graph& graph, const std::string& name) {
  for (uint32_t i = 0; i < graph.value_count(); ++i) {
    if (graph.value(ValueId{i}).name == name) return ValueId{i};
  }
  throw Error(ErrorKind::kInternal, "the test's graph has no value '" + name + "'");
}

}  // namespace pare::test
