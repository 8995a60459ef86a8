#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "importers/onnx/import.h"
#include "importers/onnx/tensor_file.h"
#include "models/onnx_model.h"
#include "ops/ops.h"

namespace pare::test {
namespace {

using testing::ElementsAre;
using Tp = onnx::TensorProto;

/// The constant "w" of a model whose only initializer is `tensor`.
Tensor imported(Tp tensor) {
  onnx::ModelProto model = relu_model();
  tensor.set_name("w");
  *model.mutable_graph()->add_initializer() = std::move(tensor);
  const Graph graph = import_model(model);
  return *graph.value(value_named(graph, "w")).constant;
}

Tp tensor_of(int32_t data_type, const std::vector<int64_t>& dims) {
  Tp tensor;
  tensor.set_data_type(data_type);
  for (int64_t extent : dims) tensor.add_dims(extent);
  return tensor;
}

/// Elements as bytes, for types without a C++ type.
std::vector<int> bytes_of(const Tensor& tensor) {
  std::vector<int> bytes;
  for (std::byte b : tensor.bytes()) bytes.push_back(std::to_integer<int>(b));
  return bytes;
}

// -- Inputs and shapes ---------------------------------------------------------

TEST(OnnxImport, BindsASymbolicBatchToOne) {
  const Graph graph = import_model(relu_model());
  ASSERT_EQ(graph.inputs().size(), 1u);
  const Value& x = graph.value(graph.inputs()[0]);
  EXPECT_EQ(x.type, (TensorType{DType::kF32, {1, 4}}));
  EXPECT_THAT(x.dim_symbols, ElementsAre("N", ""));
  EXPECT_TRUE(x.dynamic);
  EXPECT_TRUE(graph.value(graph.outputs()[0]).dynamic);
}

TEST(OnnxImport, BindsASymbolToTheWishedExtent) {
  const TempFolder folder;
  const std::string path = write_model(folder / "m.onnx", relu_model());
  const Graph graph = import_onnx(path, onnx_ops(), {.bind = {{"N", 8}}});
  EXPECT_EQ(graph.shape(graph.outputs()[0]), (Shape{8, 4}));
}

TEST(OnnxImport, GivesUnnamedDimsSymbolsOfTheirOwn) {
  onnx::ModelProto model = relu_model();
  auto& shape = *model.mutable_graph()
                     ->mutable_input(0)
                     ->mutable_type()
                     ->mutable_tensor_type()
                     ->mutable_shape();
  shape.mutable_dim(0)->clear_dim_param();
  shape.mutable_dim(1)->set_dim_value(-1);
  const Graph graph = import_model(model);
  EXPECT_THAT(graph.value(graph.inputs()[0]).dim_symbols, ElementsAre("?0", "?1"));
  EXPECT_EQ(graph.shape(graph.inputs()[0]), (Shape{1, 1}));
}

TEST(OnnxImport, TakesTypesOfUnknownNodesFromDeclarations) {
  onnx::ModelProto model = empty_model();
  auto& opset = *model.add_opset_import();
  opset.set_domain("com.example");
  opset.set_version(3);
  onnx::GraphProto& graph_proto = *model.mutable_graph();
  add_node(graph_proto, "Mystery", {"x"}, {"m"}).set_domain("com.example");
  add_node(graph_proto, "Relu", {"m"}, {"y"});
  *graph_proto.add_value_info() = tensor_info("m", {-1, 7});
  const Graph graph = import_model(model);
  const Node& mystery = graph.node(graph.order()[0]);
  EXPECT_EQ(mystery.def, nullptr);
  EXPECT_EQ(mystery.opset, 3);
  EXPECT_EQ(graph.shape(mystery.outputs[0]), (Shape{1, 7}));
  EXPECT_EQ(graph.shape(graph.outputs()[0]), (Shape{1, 7})) << "inference wins over [N,4]";
}

TEST(OnnxImport, LeavesValuesThatAreNoTensorsUnknown) {
  onnx::ModelProto model = relu_model();
  onnx::ValueInfoProto& info = *model.mutable_graph()->add_input();
  info.set_name("s");
  info.mutable_type()->mutable_sequence_type()->mutable_elem_type()->mutable_tensor_type();
  const Graph graph = import_model(model);
  EXPECT_EQ(graph.type(graph.inputs()[1]), TensorType::unknown());
}

TEST(OnnxImport, KnowsTheOpsetOfEveryDomain) {
  onnx::ModelProto model = relu_model();
  auto& opset = *model.add_opset_import();
  opset.set_domain("ai.onnx.ml");
  opset.set_version(3);
  const Graph graph = import_model(model);
  EXPECT_EQ(graph.opset(), 17);
  EXPECT_EQ(graph.opset("ai.onnx.ml"), 3);
}

TEST(OnnxImport, ReadsOpsetsNewerThanItKnows) {
  onnx::ModelProto model = relu_model();
  model.set_ir_version(99);
  model.mutable_opset_import(0)->set_version(99);
  EXPECT_EQ(import_model(model).opset(), 99);
}

// -- Nodes ---------------------------------------------------------------------

TEST(OnnxImport, SortsNodesThatAreOutOfOrder) {
  onnx::ModelProto model = empty_model();
  add_node(*model.mutable_graph(), "Relu", {"b"}, {"y"});
  add_node(*model.mutable_graph(), "Relu", {"a"}, {"b"});
  add_node(*model.mutable_graph(), "Relu", {"x"}, {"a"});
  const Graph graph = import_model(model);
  EXPECT_EQ(graph.value(graph.node(graph.order()[0]).outputs[0]).name, "a");
}

TEST(OnnxImport, NamesNodesThatHaveNone) {
  onnx::ModelProto model = empty_model();
  add_node(*model.mutable_graph(), "Relu", {"x"}, {"a"}).set_name("Relu_1");
  add_node(*model.mutable_graph(), "Relu", {"a"}, {"y"});
  const Graph graph = import_model(model);
  EXPECT_EQ(graph.node(graph.order()[0]).name, "Relu_1");
  EXPECT_EQ(graph.node(graph.order()[1]).name, "Relu_2");
}

TEST(OnnxImport, TurnsConstantNodesIntoConstants) {
  onnx::ModelProto model = relu_model();
  onnx::NodeProto& node = add_node(*model.mutable_graph(), "Constant", {}, {"k"});
  node.add_attribute()->set_name("value_ints");
  node.mutable_attribute(0)->set_type(onnx::AttributeProto::INTS);
  node.mutable_attribute(0)->add_ints(5);
  const Graph graph = import_model(model);
  const Tensor* k = graph.constant(value_named(graph, "k"));
  ASSERT_NE(k, nullptr);
  EXPECT_THAT(k->data<int64_t>(), ElementsAre(5));
  EXPECT_EQ(graph.order().size(), 1u);
}

TEST(OnnxImport, ReadsAttributesOfFilesWithoutTypes) {
  onnx::ModelProto model = empty_model();
  onnx::NodeProto& node = add_node(*model.mutable_graph(), "LeakyRelu", {"x"}, {"y"});
  node.add_attribute()->set_name("alpha");
  node.mutable_attribute(0)->set_f(0.5f);
  const Graph graph = import_model(model);
  EXPECT_EQ(graph.node(graph.order()[0]).attribute("alpha", 0.0f), 0.5f);
}

TEST(OnnxImport, MakesWhatSubgraphsCaptureInputsOfTheNode) {
  const Graph graph = import_model(if_model());
  const Node& node = graph.node(graph.order()[0]);
  EXPECT_EQ(node.def, nullptr);
  EXPECT_EQ(node.captures, 2u);
  EXPECT_THAT(node.inputs, ElementsAre(value_named(graph, "c"), value_named(graph, "x"),
                                       value_named(graph, "w")));
  EXPECT_TRUE(std::holds_alternative<Opaque>(node.attributes.at("then_branch")));
}

TEST(OnnxImport, SeesCapturesTwoLevelsDownButNotLocalNames) {
  onnx::ModelProto model = if_model();
  onnx::GraphProto& outer =
      *model.mutable_graph()->mutable_node(0)->mutable_attribute(0)->mutable_g();
  outer.Clear();
  add_node(outer, "Abs", {"x"}, {"local"});
  onnx::NodeProto& nested = add_node(outer, "If", {"c"}, {"r"});
  onnx::GraphProto& inner = add_subgraph(nested, "then_branch");
  add_node(inner, "Add", {"local", "late"}, {"q"});
  *inner.add_output() = tensor_info("q", {-1, 4});
  *outer.add_output() = tensor_info("r", {-1, 4});
  add_node(*model.mutable_graph(), "Neg", {"x"}, {"late"});  // After its use: it must be sorted.
  const Graph graph = import_model(model);
  ASSERT_EQ(graph.order().size(), 2u);
  const Node& node = graph.node(graph.order()[1]);
  EXPECT_THAT(node.inputs,
              ElementsAre(value_named(graph, "c"), value_named(graph, "x"), value_named(graph, "c"),
                          value_named(graph, "late"), value_named(graph, "w")));
  EXPECT_EQ(node.captures, 4u);
}

TEST(OnnxImport, TreatsCallsOfLocalFunctionsAsUnknown) {
  onnx::ModelProto model = relu_model();
  onnx::FunctionProto& function = *model.add_functions();
  function.set_name("Relu");  // A function hides the operator of its name.
  function.set_domain("");
  const Graph graph = import_model(model);
  EXPECT_EQ(graph.node(graph.order()[0]).def, nullptr);
}

TEST(OnnxImport, AllowsInputsAndWeightsAsOutputs) {
  onnx::ModelProto model = relu_model();
  add_weight(*model.mutable_graph(), "w", {4});
  *model.mutable_graph()->add_output() = tensor_info("x", {-1, 4});
  *model.mutable_graph()->add_output() = tensor_info("w", {4});
  const Graph graph = import_model(model);
  EXPECT_EQ(graph.outputs()[1], graph.inputs()[0]);
  EXPECT_NE(graph.constant(graph.outputs()[2]), nullptr);
}

// -- Weights -------------------------------------------------------------------

TEST(OnnxImport, TreatsAnInputWithAnInitializerAsAConstant) {
  onnx::ModelProto model = relu_model();
  model.set_ir_version(3);
  add_weight(*model.mutable_graph(), "w", {4});
  *model.mutable_graph()->add_input() = tensor_info("w", {4});
  const Graph graph = import_model(model);
  EXPECT_EQ(graph.inputs().size(), 1u);
  EXPECT_NE(graph.constant(value_named(graph, "w")), nullptr);
}

TEST(OnnxImport, JoinsAGraphWrittenInPieces) {
  // Messages end to end are one message with the fields of all.
  onnx::ModelProto weights, rest = relu_model();
  add_weight(*weights.mutable_graph(), "w", {3});
  add_weight(*weights.mutable_graph(), "v", {2});
  add_weight(*rest.mutable_graph(), "u", {4});
  const TempFolder folder;
  for (const bool first : {true, false}) {
    const std::string a = weights.SerializePartialAsString(), b = rest.SerializePartialAsString();
    const std::string path = write_bytes(folder / "pieces.onnx", first ? a + b : b + a);
    const Graph graph = import_onnx(path, onnx_ops());
    EXPECT_THAT(graph.constant(value_named(graph, "w"))->data<float>(), ElementsAre(0, 1, 2));
    EXPECT_THAT(graph.constant(value_named(graph, "v"))->data<float>(), ElementsAre(0, 1));
    EXPECT_THAT(graph.constant(value_named(graph, "u"))->data<float>(), ElementsAre(0, 1, 2, 3));
  }
}

TEST(OnnxImport, OfRawDataGivenTwiceTheLastCounts) {
  onnx::ModelProto model = relu_model();
  Tp tensor = tensor_of(Tp::UINT8, {2});
  tensor.set_name("w");
  tensor.set_raw_data("ab");
  std::string bytes = tensor.SerializePartialAsString();
  Tp again;
  again.set_raw_data("cd");
  bytes += again.SerializePartialAsString();
  std::string graph_bytes{'\x2a', static_cast<char>(bytes.size())};  // Field 5, with a length.
  graph_bytes += bytes;
  std::string model_bytes{'\x3a', static_cast<char>(graph_bytes.size())};  // Field 7.
  model_bytes += graph_bytes;
  const TempFolder folder;
  const std::string path =
      write_bytes(folder / "twice.onnx", model.SerializePartialAsString() + model_bytes);
  const Graph graph = import_onnx(path, onnx_ops());
  EXPECT_THAT(graph.constant(value_named(graph, "w"))->data<uint8_t>(), ElementsAre('c', 'd'));
}

TEST(OnnxImport, ReadsTypedFields) {
  Tp f = tensor_of(Tp::FLOAT, {2});
  f.add_float_data(1.5f), f.add_float_data(-2);
  EXPECT_THAT(imported(f).data<float>(), ElementsAre(1.5f, -2));
  Tp d = tensor_of(Tp::DOUBLE, {1});
  d.add_double_data(0.1);
  EXPECT_THAT(imported(d).data<double>(), ElementsAre(0.1));
  Tp i8 = tensor_of(Tp::INT8, {2});
  i8.add_int32_data(-128), i8.add_int32_data(127);
  EXPECT_THAT(imported(i8).data<int8_t>(), ElementsAre(-128, 127));
  Tp u16 = tensor_of(Tp::UINT16, {1});
  u16.add_int32_data(65535);
  EXPECT_THAT(imported(u16).data<uint16_t>(), ElementsAre(65535));
  Tp i64 = tensor_of(Tp::INT64, {1});
  i64.add_int64_data(-5);
  EXPECT_THAT(imported(i64).data<int64_t>(), ElementsAre(-5));
  Tp u32 = tensor_of(Tp::UINT32, {1});
  u32.add_uint64_data(4294967295u);
  EXPECT_THAT(imported(u32).data<uint32_t>(), ElementsAre(4294967295u));
}

TEST(OnnxImport, ReadsHalfFloatsAsBits) {
  Tp half = tensor_of(Tp::FLOAT16, {1});
  half.add_int32_data(0x3e00);
  EXPECT_EQ(static_cast<float>(imported(half).data<Float16>()[0]), 1.5f);
  Tp bfloat = tensor_of(Tp::BFLOAT16, {1});
  bfloat.add_int32_data(0x3fc0);
  EXPECT_EQ(static_cast<float>(imported(bfloat).data<BFloat16>()[0]), 1.5f);
}

TEST(OnnxImport, ReadsStrings) {
  Tp strings = tensor_of(Tp::STRING, {2});
  strings.add_string_data("a"), strings.add_string_data("");
  EXPECT_THAT(imported(strings).strings(), ElementsAre("a", ""));
}

TEST(OnnxImport, NormalisesBooleans) {
  Tp raw = tensor_of(Tp::BOOL, {3});
  raw.set_raw_data(std::string("\x00\x01\x7f", 3));
  EXPECT_THAT(bytes_of(imported(raw)), ElementsAre(0, 1, 1));
}

TEST(OnnxImport, UnpacksFourBitElements) {
  Tp i4 = tensor_of(22, {3});  // INT4, newer than the installed ONNX may be.
  i4.set_raw_data("\x8f\x07");
  EXPECT_THAT(imported(i4).data<int8_t>(), ElementsAre(-1, -8, 7));
  Tp u4 = tensor_of(21, {3});
  u4.add_int32_data(0x8f), u4.add_int32_data(0x07);
  EXPECT_THAT(imported(u4).data<uint8_t>(), ElementsAre(15, 8, 7));
}

TEST(OnnxImport, UnpacksTwoBitElements) {
  Tp i2 = tensor_of(26, {5});
  i2.set_raw_data("\xe4\x01");  // 0, 1, -2, -1 and 1.
  EXPECT_THAT(imported(i2).data<int8_t>(), ElementsAre(0, 1, -2, -1, 1));
}

TEST(OnnxImport, CarriesEightBitFloats) {
  Tp f8 = tensor_of(17, {2});
  f8.set_raw_data("\x38\x40");
  EXPECT_EQ(imported(f8).dtype(), DType::kF8E4M3FN);
}

TEST(OnnxImport, ReadsTensorsWithoutElements) {
  EXPECT_EQ(imported(tensor_of(Tp::FLOAT, {0, int64_t{1} << 40})).size(), 0);
}

TEST(OnnxImport, MakesSparseInitializersDense) {
  onnx::ModelProto model = relu_model();
  onnx::SparseTensorProto& sparse = *model.mutable_graph()->add_sparse_initializer();
  sparse.add_dims(2), sparse.add_dims(2);
  *sparse.mutable_values() = tensor_of(Tp::FLOAT, {1});
  sparse.mutable_values()->set_name("s");
  sparse.mutable_values()->add_float_data(7);
  *sparse.mutable_indices() = tensor_of(Tp::INT64, {1, 2});
  sparse.mutable_indices()->add_int64_data(1), sparse.mutable_indices()->add_int64_data(0);
  const Graph graph = import_model(model);
  EXPECT_THAT(graph.constant(value_named(graph, "s"))->data<float>(), ElementsAre(0, 0, 7, 0));
}

TEST(OnnxImport, ReadsExternalDataAtAnyOffset) {
  const TempFolder folder;
  write_bytes(folder / "w.bin", std::string("?") + std::string("\0\0\x80\x3f\0\0\0\x40", 8));
  onnx::ModelProto model = relu_model();
  Tp& w = *model.mutable_graph()->add_initializer();
  w = tensor_of(Tp::FLOAT, {2});
  w.set_name("w");
  w.set_data_location(Tp::EXTERNAL);
  for (const auto& [key, value] : {std::pair("location", "w.bin"), std::pair("offset", "1")}) {
    w.add_external_data()->set_key(key);
    w.mutable_external_data()->rbegin()->set_value(value);
  }
  const Graph graph = import_onnx(write_model(folder / "m.onnx", model), onnx_ops());
  EXPECT_THAT(graph.constant(value_named(graph, "w"))->data<float>(), ElementsAre(1, 2));
}

TEST(TensorFile, ReadsATensor) {
  const TempFolder folder;
  Tp tensor = tensor_of(Tp::INT32, {2});
  tensor.add_int32_data(3), tensor.add_int32_data(-4);
  const std::string path = write_bytes(folder / "t.pb", tensor.SerializeAsString());
  EXPECT_THAT(read_tensor_pb(path).data<int32_t>(), ElementsAre(3, -4));
}

TEST(TensorFile, NamesTheFileThatIsNoTensor) {
  const TempFolder folder;
  const std::string path = write_bytes(folder / "t.pb", "certainly not a tensor");
  try {
    read_tensor_pb(path);
    FAIL() << "expected an error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInput);
    EXPECT_THAT(error.what(), testing::HasSubstr(path));
  }
}

}  // namespace
}  // namespace pare::test
