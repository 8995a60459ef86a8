// What is no valid model is refused with the right kind, naming file, place and fact.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>

#include "importers/onnx/import.h"
#include "models/onnx_model.h"
#include "ops/ops.h"

namespace pare::test {
namespace {

using testing::HasSubstr;
using Tp = onnx::TensorProto;

void expect_refused(const std::string& path, ErrorKind kind, const std::string& fact) {
  try {
    import_onnx(path, onnx_ops());
    FAIL() << "expected an error about: " << fact;
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    EXPECT_THAT(error.what(), HasSubstr(path));
    EXPECT_THAT(error.what(), HasSubstr(fact));
  }
}

void expect_refused(const onnx::ModelProto& model, ErrorKind kind, const std::string& fact) {
  const TempFolder folder;
  expect_refused(write_model(folder / "bad.onnx", model), kind, fact);
}

void expect_bad_bytes(const std::string& bytes, const std::string& fact) {
  const TempFolder folder;
  expect_refused(write_bytes(folder / "bad.onnx", bytes), ErrorKind::kInput, fact);
}

/// relu_model() after `change`.
onnx::ModelProto changed(const std::function<void(onnx::ModelProto&)>& change) {
  onnx::ModelProto model = relu_model();
  change(model);
  return model;
}

/// relu_model() with an initializer "w" after `change`; it starts as f32[2] with its 8 raw bytes.
onnx::ModelProto with_weight(const std::function<void(Tp&)>& change) {
  onnx::ModelProto model = relu_model();
  change(add_weight(*model.mutable_graph(), "w", {2}));
  return model;
}

// -- Files ---------------------------------------------------------------------

TEST(OnnxBadInput, MissingFile) {
  const TempFolder folder;
  expect_refused(folder / "none.onnx", ErrorKind::kInput, "No such file");
}

TEST(OnnxBadInput, Directory) {
  const TempFolder folder;
  expect_refused(folder / ".", ErrorKind::kInput, "no regular file");
}

TEST(OnnxBadInput, EmptyFile) { expect_bad_bytes("", "is empty"); }

TEST(OnnxBadInput, TextFile) {
  expect_bad_bytes("# Not a model\n\nbut some text, and enough of it.\n", "is no ONNX model");
}

TEST(OnnxBadInput, EveryTruncationIsNoticedOrHarmless) {
  onnx::ModelProto model = if_model();
  const std::string bytes = model.SerializeAsString();
  const TempFolder folder;
  for (size_t size = 0; size < bytes.size(); ++size) {
    const std::string path = write_bytes(folder / "cut.onnx", bytes.substr(0, size));
    EXPECT_THROW(import_onnx(path, onnx_ops()), Error) << "cut to " << size << " bytes";
  }
}

TEST(OnnxBadInput, EveryFlippedByteGivesAModelOrAnError) {
  const std::string bytes = if_model().SerializeAsString();
  const TempFolder folder;
  for (size_t i = 0; i < bytes.size(); ++i) {
    std::string damaged = bytes;
    damaged[i] = static_cast<char>(damaged[i] ^ 0x55);
    const std::string path = write_bytes(folder / "damaged.onnx", damaged);
    try {
      verify(import_onnx(path, onnx_ops()));
    } catch (const Error& error) {
      EXPECT_NE(error.kind(), ErrorKind::kInternal) << "byte " << i << ": " << error.what();
    }
  }
}

TEST(OnnxBadInput, GraphsNestedTooDeep) {
  onnx::ModelProto model = relu_model();
  onnx::GraphProto* graph = model.mutable_graph();
  for (int depth = 0; depth < 60; ++depth) {
    graph = &add_subgraph(add_node(*graph, "If", {"x"}, {"n" + std::to_string(depth)}), "g");
  }
  expect_refused(model, ErrorKind::kInput, "nested");
}

// -- Versions ------------------------------------------------------------------

TEST(OnnxBadInput, OldOpset) {
  expect_refused(changed([](auto& m) { m.mutable_opset_import(0)->set_version(6); }),
                 ErrorKind::kUnsupported, "opset 6");
}

TEST(OnnxBadInput, OldIrVersion) {
  expect_refused(changed([](auto& m) { m.set_ir_version(2); }), ErrorKind::kUnsupported,
                 "IR version 2");
}

TEST(OnnxBadInput, NoOpset) {
  expect_refused(changed([](auto& m) { m.clear_opset_import(); }), ErrorKind::kInput,
                 "imports no opset");
}

TEST(OnnxBadInput, TwoVersionsOfADomain) {
  expect_refused(changed([](auto& m) {
                   auto& opset = *m.add_opset_import();
                   opset.set_domain("ai.onnx");
                   opset.set_version(9);
                 }),
                 ErrorKind::kInput, "17 and 9");
}

TEST(OnnxBadInput, DomainThatIsNotImported) {
  expect_refused(
      changed([](auto& m) { m.mutable_graph()->mutable_node(0)->set_domain("com.example"); }),
      ErrorKind::kInput, "'com.example' is not imported");
}

// -- Graph ---------------------------------------------------------------------

TEST(OnnxBadInput, NoGraph) {
  expect_refused(changed([](auto& m) { m.clear_graph(); }), ErrorKind::kInput, "no graph");
}

TEST(OnnxBadInput, UndefinedOperand) {
  expect_refused(changed([](auto& m) { m.mutable_graph()->mutable_node(0)->set_input(0, "z"); }),
                 ErrorKind::kInput, "node 'y' (Relu): input 'z' is not defined");
}

TEST(OnnxBadInput, UndefinedCapture) {
  onnx::ModelProto model = if_model();
  model.mutable_graph()->clear_input();
  expect_refused(model, ErrorKind::kInput, "input 'x' is not defined");
}

TEST(OnnxBadInput, Cycle) {
  expect_refused(changed([](auto& m) {
                   add_node(*m.mutable_graph(), "Add", {"x", "b"}, {"a"}).set_name("first");
                   add_node(*m.mutable_graph(), "Relu", {"a"}, {"b"}).set_name("second");
                   m.mutable_graph()->mutable_node(0)->set_input(0, "b");
                 }),
                 ErrorKind::kInput, "depends on its own output");
}

TEST(OnnxBadInput, OutputDefinedTwice) {
  expect_refused(changed([](auto& m) { add_node(*m.mutable_graph(), "Abs", {"x"}, {"y"}); }),
                 ErrorKind::kInput, "node 'y' (Abs): output 'y' is defined twice");
}

TEST(OnnxBadInput, OutputThatIsAnInput) {
  expect_refused(changed([](auto& m) { add_node(*m.mutable_graph(), "Abs", {"x"}, {"x"}); }),
                 ErrorKind::kInput, "output 'x' is defined twice");
}

TEST(OnnxBadInput, InitializerDefinedTwice) {
  expect_refused(changed([](auto& m) {
                   add_weight(*m.mutable_graph(), "w", {1});
                   add_weight(*m.mutable_graph(), "w", {1});
                 }),
                 ErrorKind::kInput, "'w' is defined twice");
}

TEST(OnnxBadInput, InputDeclaredTwice) {
  expect_refused(changed([](auto& m) { *m.mutable_graph()->add_input() = tensor_info("x", {1}); }),
                 ErrorKind::kInput, "two inputs 'x'");
}

TEST(OnnxBadInput, GraphOutputDeclaredTwice) {
  expect_refused(changed([](auto& m) { *m.mutable_graph()->add_output() = tensor_info("y", {1}); }),
                 ErrorKind::kInput, "two outputs 'y'");
}

TEST(OnnxBadInput, GraphOutputNobodyComputes) {
  expect_refused(changed([](auto& m) { *m.mutable_graph()->add_output() = tensor_info("z", {1}); }),
                 ErrorKind::kInput, "output 'z' is computed by no node");
}

TEST(OnnxBadInput, NoOutputs) {
  expect_refused(changed([](auto& m) { m.mutable_graph()->clear_output(); }), ErrorKind::kInput,
                 "no outputs");
}

TEST(OnnxBadInput, NodeWithoutType) {
  expect_refused(changed([](auto& m) { m.mutable_graph()->mutable_node(0)->clear_op_type(); }),
                 ErrorKind::kInput, "no op type");
}

TEST(OnnxBadInput, AttributeGivenTwice) {
  expect_refused(changed([](auto& m) {
                   for (int i = 0; i < 2; ++i) {
                     auto& attribute = *m.mutable_graph()->mutable_node(0)->add_attribute();
                     attribute.set_name("a");
                     attribute.set_type(onnx::AttributeProto::INT);
                   }
                 }),
                 ErrorKind::kInput, "attribute 'a' is given twice");
}

TEST(OnnxBadInput, ShapesThatDoNotFitNameTheBoundDims) {
  onnx::ModelProto model = empty_model();
  add_weight(*model.mutable_graph(), "w", {3, 5});
  add_node(*model.mutable_graph(), "MatMul", {"x", "w"}, {"y"}).set_name("fc");
  expect_refused(model, ErrorKind::kInput, "node 'fc' (MatMul)");
  expect_refused(model, ErrorKind::kInput, "N=1");
}

TEST(OnnxBadInput, BindingBelowOne) {
  const TempFolder folder;
  const std::string path = write_model(folder / "m.onnx", relu_model());
  EXPECT_THROW(import_onnx(path, onnx_ops(), {.bind = {{"N", 0}}}), Error);
}

// -- Weights -------------------------------------------------------------------

TEST(OnnxBadInput, NegativeDim) {
  expect_refused(with_weight([](Tp& w) { w.set_dims(0, -2); }), ErrorKind::kInput, "extent -2");
}

TEST(OnnxBadInput, DimsThatOverflow) {
  expect_refused(with_weight([](Tp& w) {
                   w.set_dims(0, int64_t{1} << 40);
                   w.add_dims(int64_t{1} << 40);
                 }),
                 ErrorKind::kInput, "too many elements");
}

TEST(OnnxBadInput, BytesThatOverflow) {
  expect_refused(with_weight([](Tp& w) {
                   w.set_dims(0, int64_t{1} << 62);
                   w.set_data_type(Tp::COMPLEX128);
                 }),
                 ErrorKind::kInput, "initializer 'w'");
}

TEST(OnnxBadInput, HugeDimsWithLittleDataAllocateNothing) {
  for (int32_t type : {int32_t{Tp::FLOAT}, int32_t{Tp::BOOL}, int32_t{Tp::STRING}, 22}) {
    expect_refused(with_weight([&](Tp& w) {
                     w.set_dims(0, int64_t{1} << 45);
                     w.set_data_type(type);
                   }),
                   ErrorKind::kInput, "needs");
    expect_refused(with_weight([&](Tp& w) {
                     w.set_dims(0, int64_t{1} << 45);
                     w.set_data_type(type);
                     w.clear_raw_data();
                   }),
                   ErrorKind::kInput, "needs");
  }
}

TEST(OnnxBadInput, RawDataOfTheWrongSize) {
  expect_refused(with_weight([](Tp& w) { w.set_raw_data("12345"); }), ErrorKind::kInput,
                 "f32[2] needs 8 bytes, but raw_data has 5");
}

TEST(OnnxBadInput, TypedDataOfTheWrongSize) {
  expect_refused(with_weight([](Tp& w) {
                   w.clear_raw_data();
                   w.add_float_data(1);
                 }),
                 ErrorKind::kInput, "needs 2 values, but float_data has 1");
}

TEST(OnnxBadInput, UnknownElementType) {
  expect_refused(with_weight([](Tp& w) { w.set_data_type(77); }), ErrorKind::kUnsupported,
                 "element type 77");
}

TEST(OnnxBadInput, Segments) {
  expect_refused(with_weight([](Tp& w) { w.mutable_segment()->set_begin(0); }),
                 ErrorKind::kUnsupported, "segments");
}

TEST(OnnxBadInput, InitializerWithoutName) {
  expect_refused(with_weight([](Tp& w) { w.clear_name(); }), ErrorKind::kInput, "no name");
}

// -- Sparse weights ------------------------------------------------------------

onnx::ModelProto with_sparse(const std::function<void(onnx::SparseTensorProto&)>& change) {
  onnx::ModelProto model = relu_model();
  onnx::SparseTensorProto& sparse = *model.mutable_graph()->add_sparse_initializer();
  sparse.add_dims(4);
  Tp& values = *sparse.mutable_values();
  values.set_name("s");
  values.set_data_type(Tp::FLOAT);
  values.add_dims(1);
  values.add_float_data(1);
  Tp& indices = *sparse.mutable_indices();
  indices.set_data_type(Tp::INT64);
  indices.add_dims(1);
  indices.add_int64_data(3);
  change(sparse);
  return model;
}

TEST(OnnxBadInput, SparseIndexOutsideTheShape) {
  for (int64_t index : {int64_t{4}, int64_t{-1}, int64_t{1} << 62}) {
    expect_refused(with_sparse([&](auto& s) { s.mutable_indices()->set_int64_data(0, index); }),
                   ErrorKind::kInput, "outside the shape [4]");
  }
}

TEST(OnnxBadInput, SparseIndicesOfTheWrongShape) {
  expect_refused(with_sparse([](auto& s) { s.mutable_indices()->add_dims(3); }), ErrorKind::kInput,
                 "sparse initializer 's'");
}

TEST(OnnxBadInput, SparseTensorTooLargeToBeDense) {
  expect_refused(with_sparse([](auto& s) { s.set_dims(0, int64_t{1} << 50); }),
                 ErrorKind::kUnsupported, "too large");
}

// -- External data -------------------------------------------------------------

class OnnxBadExternalData : public testing::Test {
 protected:
  /// A model in folder/model/ whose weight of 8 bytes is said to be at the place given; the file
  /// folder/model/w.bin has 16 bytes, so has folder/outside.bin.
  std::string model(const std::string& location, const std::string& offset = {},
                    const std::string& length = {}) {
    std::filesystem::create_directories(folder_ / "model");
    write_bytes(folder_ / "model/w.bin", std::string(16, '\0'));
    write_bytes(folder_ / "outside.bin", std::string(16, '\0'));
    return write_model(folder_ / "model/m.onnx", with_weight([&](Tp& w) {
                         w.clear_raw_data();
                         w.set_data_location(Tp::EXTERNAL);
                         add(w, "location", location);
                         if (!offset.empty()) add(w, "offset", offset);
                         if (!length.empty()) add(w, "length", length);
                       }));
  }

  static void add(Tp& w, const std::string& key, const std::string& value) {
    auto& entry = *w.add_external_data();
    entry.set_key(key);
    entry.set_value(value);
  }

  TempFolder folder_;
};

TEST_F(OnnxBadExternalData, IsReadWhereAllIsRight) {
  EXPECT_NO_THROW(import_onnx(model("w.bin", "8", "8"), onnx_ops()));
}

TEST_F(OnnxBadExternalData, ParentFolder) {
  expect_refused(model("../outside.bin"), ErrorKind::kInput, "has '..'");
}

TEST_F(OnnxBadExternalData, AbsolutePath) {
  expect_refused(model(folder_ / "outside.bin"), ErrorKind::kInput, "is absolute");
}

TEST_F(OnnxBadExternalData, LinkOutOfTheFolder) {
  const std::string path = model("link.bin");
  std::filesystem::create_symlink("../outside.bin", folder_ / "model/link.bin");
  expect_refused(path, ErrorKind::kInput, "leaves the model's folder");
}

TEST_F(OnnxBadExternalData, LinkedFolderOutOfTheFolder) {
  const std::string path = model("up/outside.bin");
  std::filesystem::create_directory_symlink("..", folder_ / "model/up");
  expect_refused(path, ErrorKind::kInput, "leaves the model's folder");
}

TEST_F(OnnxBadExternalData, LinkInsideTheFolderIsFine) {
  const std::string path = model("link.bin");
  std::filesystem::create_symlink("w.bin", folder_ / "model/link.bin");
  EXPECT_NO_THROW(import_onnx(path, onnx_ops()));
}

TEST_F(OnnxBadExternalData, MissingFile) {
  expect_refused(model("none.bin"), ErrorKind::kInput, "'none.bin' cannot be read");
}

TEST_F(OnnxBadExternalData, NoLocation) {
  expect_refused(model(""), ErrorKind::kInput, "is no file name");
}

TEST_F(OnnxBadExternalData, TheFolderItself) {
  expect_refused(model("."), ErrorKind::kInput, "'.'");
}

TEST_F(OnnxBadExternalData, OffsetBehindTheEnd) {
  expect_refused(model("w.bin", "9"), ErrorKind::kInput, "needs 8 from offset 9");
}

TEST_F(OnnxBadExternalData, OffsetThatOverflows) {
  expect_refused(model("w.bin", "18446744073709551615"), ErrorKind::kInput, "from offset");
  expect_refused(model("w.bin", "18446744073709551616"), ErrorKind::kInput, "expected a number");
}

TEST_F(OnnxBadExternalData, OffsetThatIsNoNumber) {
  for (const char* text : {"-8", " 8", "8x", "0x8"})
    expect_refused(model("w.bin", text), ErrorKind::kInput, "expected a number");
}

TEST_F(OnnxBadExternalData, LengthThatIsNotTheTensors) {
  expect_refused(model("w.bin", "0", "16"), ErrorKind::kInput,
                 "gives length 16, but the tensor has 8 bytes");
}

}  // namespace
}  // namespace pare::test
