#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "exporters/onnx/export.h"
#include "importers/onnx/import.h"
#include "models/onnx_model.h"
#include "ops/ops.h"

namespace pare::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

/// Names of initializers, inputs, ... in the file's order.
template <typename Field>
std::vector<std::string> names(const Field& field) {
  std::vector<std::string> names;
  for (const auto& entry : field) names.push_back(entry.name());
  return names;
}

/// x -> Conv-like chain with a weight: h = MatMul(x, w), y = Relu(h), and h is declared.
onnx::ModelProto matmul_model() {
  onnx::ModelProto model = empty_model();
  onnx::GraphProto& graph = *model.mutable_graph();
  add_weight(graph, "w", {4, 4});
  add_node(graph, "MatMul", {"x", "w"}, {"h"}).set_name("fc");
  add_node(graph, "Relu", {"h"}, {"y"}).set_name("act");
  *graph.add_value_info() = tensor_info("h", {-1, 4});
  return model;
}

void expect_refused(const Graph& graph, const std::string& path, const std::string& reason) {
  try {
    export_onnx(graph, path);
    FAIL() << "expected an error about: " << reason;
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUsage);
    EXPECT_THAT(error.what(), HasSubstr(path));
    EXPECT_THAT(error.what(), HasSubstr(reason));
  }
}

// -- Nothing is lost -----------------------------------------------------------

TEST(OnnxExport, GivesBackTheBytesOfAnUntouchedModel) {
  for (const onnx::ModelProto& model : {relu_model(), matmul_model(), if_model()}) {
    onnx::ModelProto copy = model;
    for (onnx::TensorProto& tensor : *copy.mutable_graph()->mutable_initializer()) {
      if (tensor.int32_data_size() == 0) continue;
      tensor.clear_int32_data();  // Typed data is written raw.
      tensor.set_raw_data("\x01");
    }
    EXPECT_EQ(export_model(import_model(model)).SerializeAsString(), copy.SerializeAsString());
  }
}

TEST(OnnxExport, KeepsFieldsItDoesNotKnow) {
  onnx::ModelProto model = matmul_model();
  onnx::GraphProto& graph = *model.mutable_graph();
  auto& props = *model.add_metadata_props();
  props.set_key("author");
  props.set_value("somebody");
  model.set_doc_string("a model");
  graph.set_doc_string("a graph");
  graph.mutable_initializer(0)->set_doc_string("a weight");
  graph.mutable_node(0)->set_doc_string("a node");
  graph.mutable_input(0)->set_doc_string("an input");
  graph.add_quantization_annotation()->set_tensor_name("h");
  model.add_functions()->set_name("Own");
  model.add_training_info()->mutable_algorithm()->set_name("step");
  for (google::protobuf::Message* message : std::initializer_list<google::protobuf::Message*>{
           &model, &graph, graph.mutable_node(0), graph.mutable_input(0), graph.mutable_output(0),
           graph.mutable_initializer(0), graph.mutable_value_info(0)})
    add_unknown_field(*message, "of the future");
  const onnx::ModelProto written = export_model(import_model(model));
  // The weight's raw data comes last in its message, so compare what is parsed.
  EXPECT_EQ(written.DebugString(), model.DebugString());
  for (int i = 0; i < graph.node_size(); ++i)
    EXPECT_EQ(written.graph().node(i).SerializeAsString(), graph.node(i).SerializeAsString());
}

TEST(OnnxExport, KeepsUnknownNodesByteForByte) {
  onnx::ModelProto model = relu_model();
  auto& opset = *model.add_opset_import();
  opset.set_domain("com.example");
  opset.set_version(1);
  onnx::NodeProto& node = *model.mutable_graph()->mutable_node(0);
  node.set_op_type("Mystery");
  node.set_domain("com.example");
  node.add_input("");
  node.add_output("");
  onnx::AttributeProto& tensor = *node.add_attribute();
  tensor.set_name("t");
  tensor.set_type(onnx::AttributeProto::TENSOR);
  tensor.mutable_t()->set_data_type(onnx::TensorProto::FLOAT);
  tensor.mutable_t()->add_dims(1);
  tensor.mutable_t()->add_float_data(1);
  add_unknown_field(tensor, "inside");
  onnx::AttributeProto& alpha = *node.add_attribute();
  alpha.set_name("alpha");
  alpha.set_type(onnx::AttributeProto::FLOAT);
  alpha.set_f(std::numeric_limits<float>::quiet_NaN());
  alpha.set_doc_string("kept");
  EXPECT_EQ(export_model(import_model(model)).graph().node(0).SerializeAsString(),
            node.SerializeAsString());
}

TEST(OnnxExport, WritesTheSameBytesTwice) {
  const Graph graph = import_model(if_model());
  EXPECT_EQ(export_model(graph).SerializeAsString(), export_model(graph).SerializeAsString());
}

TEST(OnnxExport, KeepsSparseInitializersSparse) {
  onnx::ModelProto model = empty_model();
  onnx::SparseTensorProto& sparse = *model.mutable_graph()->add_sparse_initializer();
  sparse.add_dims(4);
  onnx::TensorProto& values = *sparse.mutable_values();
  values.set_name("s");
  values.set_data_type(onnx::TensorProto::FLOAT);
  values.add_dims(1);
  values.add_float_data(5);
  sparse.mutable_indices()->set_data_type(onnx::TensorProto::INT64);
  sparse.mutable_indices()->add_dims(1);
  sparse.mutable_indices()->add_int64_data(2);
  add_node(*model.mutable_graph(), "Add", {"x", "s"}, {"y"});
  Graph graph = import_model(model);
  const onnx::ModelProto same = export_model(graph);
  ASSERT_THAT(same.graph().sparse_initializer(), SizeIs(1));
  EXPECT_EQ(same.graph().sparse_initializer(0).SerializeAsString(), sparse.SerializeAsString());
  EXPECT_THAT(same.graph().initializer(), IsEmpty());

  graph.set_constant(value_named(graph, "s"), Tensor({4}, std::vector<float>{1, 2, 3, 4}));
  const onnx::ModelProto dense = export_model(graph);
  EXPECT_THAT(dense.graph().sparse_initializer(), IsEmpty());
  EXPECT_THAT(names(dense.graph().initializer()), ElementsAre("s"));
}

TEST(OnnxExport, KeepsInitializersThatNobodyUsedInTheFile) {
  onnx::ModelProto model = matmul_model();
  add_weight(*model.mutable_graph(), "spare", {2});
  EXPECT_THAT(names(export_model(import_model(model)).graph().initializer()),
              ElementsAre("w", "spare"));
}

// -- What passes changed -------------------------------------------------------

TEST(OnnxExport, ChangesOnlyWhatDiffersInANode) {
  onnx::ModelProto model = empty_model();
  onnx::NodeProto& node = add_node(*model.mutable_graph(), "LeakyRelu", {"x"}, {"y"});
  node.set_doc_string("kept");
  add_unknown_field(node, "kept");
  onnx::AttributeProto& alpha = *node.add_attribute();
  alpha.set_name("alpha");
  alpha.set_type(onnx::AttributeProto::FLOAT);
  alpha.set_f(0.25f);
  alpha.set_doc_string("kept");
  Graph graph = import_model(model);
  graph.set_attribute(graph.order()[0], "alpha", 0.5f);
  alpha.set_f(0.5f);
  EXPECT_EQ(export_model(graph).graph().node(0).SerializeAsString(), node.SerializeAsString());
  graph.remove_attribute(graph.order()[0], "alpha");
  EXPECT_THAT(export_model(graph).graph().node(0).attribute(), IsEmpty());
}

TEST(OnnxExport, WritesNodesAndWeightsThatPassesAdded) {
  Graph graph = import_model(relu_model());
  const ValueId w = graph.add_constant("w", Tensor({4}, std::vector<float>{1, 2, 3, 4}));
  const ValueId sum =
      graph.insert_node(graph.order()[0], "Add", {graph.inputs()[0], w}, {}, "bias");
  graph.set_input(graph.order()[1], 0, sum);
  const onnx::ModelProto written = export_model(graph);
  EXPECT_THAT(names(written.graph().node()), ElementsAre("bias", ""));
  EXPECT_EQ(written.graph().node(1).input(0), written.graph().node(0).output(0));
  EXPECT_EQ(written.graph().initializer(0).raw_data().size(), 16u);
}

TEST(OnnxExport, DropsWeightsAndDeclarationsOfRemovedNodes) {
  Graph graph = import_model(matmul_model());
  const NodeId fc = graph.order()[0], act = graph.order()[1];
  graph.set_input(act, 0, graph.inputs()[0]);
  graph.remove_node(fc);
  const onnx::ModelProto written = export_model(graph);
  EXPECT_THAT(written.graph().initializer(), IsEmpty());
  EXPECT_THAT(written.graph().value_info(), IsEmpty());
}

TEST(OnnxExport, FollowsChangedShapesButKeepsTheBatchSymbol) {
  onnx::ModelProto model = matmul_model();
  model.mutable_graph()->mutable_output(0)->set_doc_string("kept");
  Graph graph = import_model(model);
  graph.set_constant(value_named(graph, "w"), Tensor(DType::kF32, {4, 3}));
  graph.infer_types();
  const onnx::ModelProto written = export_model(graph);
  for (const onnx::ValueInfoProto& info :
       {written.graph().output(0), written.graph().value_info(0)}) {
    EXPECT_EQ(info.type().tensor_type().shape().dim(0).dim_param(), "N");
    EXPECT_EQ(info.type().tensor_type().shape().dim(1).dim_value(), 3);
  }
  EXPECT_EQ(written.graph().output(0).doc_string(), "kept");
}

TEST(OnnxExport, UpdatesOpsets) {
  Graph graph = import_model(relu_model());
  graph.set_opset("", 18);
  graph.set_opset("com.microsoft", 1);
  const onnx::ModelProto written = export_model(graph);
  ASSERT_THAT(written.opset_import(), SizeIs(2));
  EXPECT_EQ(written.opset_import(0).version(), 18);
  EXPECT_EQ(written.opset_import(1).domain(), "com.microsoft");
}

TEST(OnnxExport, PacksFourBitWeights) {
  Graph graph = import_model(relu_model());
  const Tensor bytes({3}, std::vector<int8_t>{-1, -8, 7});
  const ValueId w = graph.add_constant("w", bytes.retyped(DType::kI4));
  graph.set_outputs({graph.outputs()[0], w});
  EXPECT_EQ(export_model(graph).graph().initializer(0).raw_data(), "\x8f\x07");
}

TEST(OnnxExport, WritesAGraphThatWasBuiltInMemory) {
  Graph graph(onnx_ops());
  graph.set_opset("", 17);
  const ValueId x = graph.add_input("x", {DType::kF32, {1, 4}}, {"N", ""});
  graph.set_outputs({graph.add_node("Relu", {x}, {}, "act")});
  const onnx::ModelProto written = export_model(graph);
  EXPECT_EQ(written.graph().input(0).SerializeAsString(),
            tensor_info("x", {-1, 4}).SerializeAsString());
  const auto& y = written.graph().output(0).type().tensor_type().shape();
  EXPECT_FALSE(y.dim(0).has_dim_value()) << "the bound batch must not be frozen into the model";
  EXPECT_EQ(written.ir_version(), 8);
  EXPECT_NO_THROW(import_model(written));
}

// -- Weights among the inputs --------------------------------------------------

TEST(OnnxExport, KeepsOverridableWeightsAmongTheInputs) {
  onnx::ModelProto model = matmul_model();
  *model.mutable_graph()->add_input() = tensor_info("w", {4, 4});
  Graph graph = import_model(model);
  graph.set_constant(value_named(graph, "w"), Tensor(DType::kF32, {4, 3}));
  graph.infer_types();
  const onnx::ModelProto written = export_model(graph);
  EXPECT_THAT(names(written.graph().input()), ElementsAre("x", "w"));
  EXPECT_EQ(written.graph().input(1).SerializeAsString(),
            tensor_info("w", {4, 3}).SerializeAsString());
}

TEST(OnnxExport, DropsARemovedWeightFromTheInputs) {
  onnx::ModelProto model = matmul_model();
  *model.mutable_graph()->add_input() = tensor_info("w", {4, 4});
  Graph graph = import_model(model);
  graph.set_input(graph.order()[1], 0, graph.inputs()[0]);
  graph.remove_node(graph.order()[0]);
  EXPECT_THAT(names(export_model(graph).graph().input()), ElementsAre("x"));
}

TEST(OnnxExport, KeepsIrVersionThreeWhereEveryWeightIsAnInput) {
  onnx::ModelProto model = matmul_model();
  model.set_ir_version(3);
  *model.mutable_graph()->add_input() = tensor_info("w", {4, 4});
  const onnx::ModelProto written = export_model(import_model(model));
  EXPECT_EQ(written.ir_version(), 3);
  EXPECT_THAT(names(written.graph().input()), ElementsAre("x", "w"));
}

TEST(OnnxExport, RaisesIrVersionThreeWhereAWeightIsAdded) {
  onnx::ModelProto model = matmul_model();
  model.set_ir_version(3);
  *model.mutable_graph()->add_input() = tensor_info("w", {4, 4});
  Graph graph = import_model(model);
  const ValueId k = graph.add_constant("k", Tensor({4}, std::vector<float>{1, 2, 3, 4}));
  const NodeId act = graph.order()[1];
  graph.set_input(act, 0, graph.insert_node(act, "Add", {value_named(graph, "h"), k}));
  const onnx::ModelProto written = export_model(graph);
  EXPECT_EQ(written.ir_version(), 4);
  EXPECT_THAT(names(written.graph().input()), ElementsAre("x"))
      << "a listed weight would be one the caller may override";
}

// -- Subgraphs -----------------------------------------------------------------

TEST(OnnxExport, RenamesCapturedValuesInsideSubgraphs) {
  Graph graph = import_model(if_model());
  graph.rename(value_named(graph, "w"), "weight");
  const onnx::NodeProto node = export_model(graph).graph().node(0);
  EXPECT_THAT(node.attribute(0).g().node(0).input(), ElementsAre("x", "weight"));
  EXPECT_THAT(node.attribute(1).g().node(0).input(), ElementsAre("weight"));
}

TEST(OnnxExport, LeavesLocalNamesThatHideACapturedOneAlone) {
  onnx::ModelProto model = if_model();
  onnx::GraphProto& branch =
      *model.mutable_graph()->mutable_node(0)->mutable_attribute(0)->mutable_g();
  add_node(branch, "Abs", {"sum"}, {"w"});  // From here on "w" is local.
  add_node(branch, "Neg", {"w"}, {"last"});
  Graph graph = import_model(model);
  graph.rename(value_named(graph, "w"), "weight");
  const onnx::NodeProto node = export_model(graph).graph().node(0);
  EXPECT_THAT(node.attribute(0).g().node(0).input(), ElementsAre("x", "weight"));
  EXPECT_THAT(node.attribute(0).g().node(1).output(), ElementsAre("w"));
  EXPECT_THAT(node.attribute(0).g().node(2).input(), ElementsAre("w"));
}

TEST(OnnxExport, MovesLocalNamesOutOfTheWayOfANewName) {
  onnx::ModelProto model = if_model();
  add_weight(*model.mutable_graph(), "sum", {4});  // The subgraph hides it with its own.
  Graph graph = import_model(model);
  graph.set_input(graph.order()[0], 2, value_named(graph, "sum"));
  const onnx::GraphProto branch = export_model(graph).graph().node(0).attribute(0).g();
  EXPECT_THAT(branch.node(0).input(), ElementsAre("x", "sum"));
  EXPECT_THAT(branch.node(0).output(), ElementsAre("sum_1"));
  EXPECT_EQ(branch.output(0).name(), "sum_1");
}

TEST(OnnxExport, GivesNewValuesNoNameThatASubgraphUses) {
  const Graph graph = import_model(if_model());
  EXPECT_EQ(graph.unique_name("sum"), "sum_1");
}

TEST(OnnxExport, LetsASubgraphReadAnotherValue) {
  Graph graph = import_model(if_model());
  const NodeId node = graph.order()[0];
  const ValueId abs = graph.insert_node(node, "Abs", {graph.inputs()[0]}, {}, "abs");
  graph.set_input(node, 1, abs);
  const onnx::GraphProto written = export_model(graph).graph();
  EXPECT_THAT(written.node(1).attribute(0).g().node(0).input(),
              ElementsAre(graph.value(abs).name, "w"));
}

// -- Files ---------------------------------------------------------------------

TEST(OnnxExportFile, RefusesTheFileThatWasRead) {
  const TempFolder folder;
  const std::string path = write_model(folder / "m.onnx", relu_model());
  std::filesystem::create_hard_link(path, folder / "same.onnx");
  const std::string before = read_bytes(path);
  const Graph graph = import_onnx(path, onnx_ops());
  expect_refused(graph, path, "the model that was read");
  expect_refused(graph, folder / "same.onnx", "the model that was read");
  EXPECT_EQ(read_bytes(path), before);
}

TEST(OnnxExportFile, RefusesAMissingFolder) {
  const TempFolder folder;
  expect_refused(import_model(relu_model()), folder / "none/m.onnx", "cannot be written");
}

TEST(OnnxExportFile, RefusesADirectory) {
  const TempFolder folder;
  std::filesystem::create_directory(folder / "m.onnx");
  expect_refused(import_model(relu_model()), folder / "m.onnx", "cannot be written");
  EXPECT_THAT(folder.names(), ElementsAre("m.onnx"));
}

TEST(OnnxExportFile, RefusesAPipe) {
  const TempFolder folder;
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  expect_refused(import_model(relu_model()), folder / "pipe", "no regular file");
}

TEST(OnnxExportFile, ReplacesAnOlderFileAndLeavesNothingElse) {
  const TempFolder folder;
  write_bytes(folder / "m.onnx", "older");
  export_onnx(import_model(relu_model()), folder / "m.onnx");
  EXPECT_EQ(read_model_file(folder / "m.onnx").graph().node_size(), 1);
  EXPECT_THAT(folder.names(), ElementsAre("m.onnx"));
}

TEST(OnnxExportFile, LeavesNothingBehindWhenTheWeightsCannotBeWritten) {
  onnx::ModelProto model = relu_model();
  add_weight(*model.mutable_graph(), "w", {500});
  const TempFolder folder;
  std::filesystem::create_directory(folder / "m.onnx.data");
  write_bytes(folder / "m.onnx", "older");
  EXPECT_THROW(export_onnx(import_model(model), folder / "m.onnx", {.external_data = true}), Error);
  EXPECT_EQ(read_bytes(folder / "m.onnx"), "older");
  EXPECT_THAT(folder.names(), ElementsAre("m.onnx", "m.onnx.data"));
}

TEST(OnnxExportFile, PutsLargeWeightsBesideTheModel) {
  onnx::ModelProto model = relu_model();
  for (const auto& [name, count] : {std::pair("small", 255), {"a", 256}, {"b", 1500}, {"c", 300}})
    add_weight(*model.mutable_graph(), name, {count});
  const Graph graph = import_model(model);
  const TempFolder folder;
  export_onnx(graph, folder / "m.onnx", {.external_data = true});
  const onnx::ModelProto written = read_model_file(folder / "m.onnx");
  EXPECT_EQ(written.graph().initializer(0).raw_data().size(), 255u * 4);
  const onnx::TensorProto& c = written.graph().initializer(3);
  EXPECT_EQ(c.data_location(), onnx::TensorProto::EXTERNAL);
  EXPECT_EQ(c.external_data(0).value(), "m.onnx.data");
  EXPECT_EQ(c.external_data(1).value(), "12288") << "a page after the 6000 bytes at 4096";
  EXPECT_EQ(c.external_data(2).value(), "1200");

  const Graph again = import_onnx(folder / "m.onnx", onnx_ops());
  for (const char* name : {"small", "a", "b", "c"})
    EXPECT_TRUE(identical(*graph.constant(value_named(graph, name)),
                          *again.constant(value_named(again, name))));
}

TEST(OnnxExportFile, WritesNoDataFileWithoutLargeWeights) {
  const TempFolder folder;
  export_onnx(import_model(matmul_model()), folder / "m.onnx", {.external_data = true});
  EXPECT_THAT(folder.names(), ElementsAre("m.onnx"));
}

TEST(OnnxExportFile, TakesExternalDataToAnotherFolder) {
  onnx::ModelProto model = if_model();
  add_weight(*model.mutable_graph(), "large", {500});
  onnx::GraphProto& branch =
      *model.mutable_graph()->mutable_node(0)->mutable_attribute(0)->mutable_g();
  onnx::TensorProto& inner = *branch.add_initializer();
  inner.set_name("inner");
  inner.set_data_type(onnx::TensorProto::INT8);
  inner.add_dims(3);
  inner.set_data_location(onnx::TensorProto::EXTERNAL);
  inner.add_external_data()->set_key("location");
  inner.mutable_external_data(0)->set_value("inner.bin");
  const TempFolder from, to;
  write_bytes(from / "inner.bin", "abc");
  write_model(from / "in.onnx", model);
  export_onnx(import_onnx(from / "in.onnx", onnx_ops()), from / "middle.onnx",
              {.external_data = true});
  export_onnx(import_onnx(from / "middle.onnx", onnx_ops()), to / "out.onnx");
  EXPECT_THAT(to.names(), ElementsAre("out.onnx"));
  const onnx::ModelProto written = read_model_file(to / "out.onnx");
  EXPECT_EQ(written.graph().initializer(2).raw_data().size(), 2000u);
  EXPECT_EQ(written.graph().node(0).attribute(0).g().initializer(0).raw_data(), "abc");
}

TEST(OnnxExportFile, DoesNotWriteOverTheWeightsThatWereRead) {
  const TempFolder folder;
  onnx::ModelProto model = relu_model();
  add_weight(*model.mutable_graph(), "w", {500});
  export_onnx(import_model(model), folder / "m.onnx", {.external_data = true});
  std::filesystem::rename(folder / "m.onnx", folder / "renamed.onnx");
  const Graph graph = import_onnx(folder / "renamed.onnx", onnx_ops());
  EXPECT_THROW(export_onnx(graph, folder / "m.onnx", {.external_data = true}), Error);
  EXPECT_NO_THROW(import_onnx(folder / "renamed.onnx", onnx_ops()));
}

}  // namespace
}  // namespace pare::test
