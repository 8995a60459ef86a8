#include "calib/dataset.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "calib/npy.h"
#include "calib/runner.h"
#include "error_message.h"
#include "ops/ops.h"

namespace pare {
namespace {

/// A folder of its own for each test, removed afterwards.
class NumPyFiles : public testing::Test {
 protected:
  void SetUp() override {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::temp_directory_path() /
              ("pare_" + std::string(info->name()) + std::to_string(::getpid()));
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string path(const std::string& name) const { return (folder_ / name).string(); }

  /// A .npy file of format `version` with this header text and these bytes.
  std::string write(const std::string& name, const std::string& header, const std::string& elements,
                    char version = 1) const {
    std::string text = std::string("\x93NUMPY") + version + '\0';
    text += static_cast<char>(header.size());
    text += std::string(version == 1 ? 1 : 3, '\0') + header + elements;
    std::ofstream(path(name), std::ios::binary) << text;
    return path(name);
  }

  std::filesystem::path folder_;
};

/// Without the folder, which differs from run to run.
std::string without(const std::filesystem::path& folder, std::string text) {
  const std::string prefix = folder.string() + "/";
  if (const size_t at = text.find(prefix); at != std::string::npos) text.erase(at, prefix.size());
  return text;
}

Graph relu(Shape shape, std::vector<std::string> symbols = {}, DType dtype = DType::kF32) {
  Graph graph(onnx_ops());
  const ValueId x = graph.add_input("x", {dtype, std::move(shape)}, std::move(symbols));
  graph.set_outputs({graph.add_node("Relu", {x}, {}, "act")});
  return graph;
}

RunOptions run_options(int threads, int64_t batch) {
  RunOptions options;
  options.threads = threads;
  options.batch = batch;
  return options;
}

TEST_F(NumPyFiles, WhatWasWrittenIsReadBack) {
  for (const Shape& shape : {Shape{}, Shape{3}, Shape{2, 3}}) {
    Tensor tensor(DType::kI16, shape);
    for (size_t i = 0; i < tensor.data<int16_t>().size(); ++i)
      tensor.mutable_data<int16_t>()[i] = static_cast<int16_t>(i * 7);
    write_npy(path("t.npy"), tensor);
    EXPECT_TRUE(identical(read_npy(path("t.npy")), tensor)) << to_string(shape);
  }
}

TEST_F(NumPyFiles, EveryFormatVersionIsRead) {
  const std::string header = "{'descr': '<u2', 'fortran_order': False, 'shape': (2,), }";
  for (const char version : {'\1', '\2', '\3'}) {
    const Tensor tensor = read_npy(write("v.npy", header, std::string("\1\0\2\0", 4), version));
    EXPECT_EQ(tensor.data<uint16_t>()[1], 2) << int{version};
  }
}

TEST_F(NumPyFiles, BadFilesAreNamedWithFactAndExpectation) {
  const auto error = [&](const std::string& file) {
    return without(folder_, message([&] { read_npy(file); }));
  };
  std::ofstream(path("text.npy")) << "hello, this is text";
  EXPECT_EQ(error(path("text.npy")),
            "text.npy: is no .npy file, its first bytes are not \\x93NUMPY");
  EXPECT_EQ(error(path("none.npy")), "none.npy: cannot be opened: No such file or directory");
  EXPECT_EQ(
      error(write("f.npy", "{'descr': '<f4', 'fortran_order': True, 'shape': (1, 1)}", "abcd")),
      "f.npy: is in Fortran order, expected C order (numpy.ascontiguousarray before saving)");
  EXPECT_EQ(
      error(write("b.npy", "{'descr': '>f4', 'fortran_order': False, 'shape': (1,)}", "abcd")),
      "b.npy: is big-endian ('>f4'), expected little-endian ('<f4')");
  EXPECT_EQ(error(write("o.npy", "{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", "abcd")),
            "o.npy: holds elements of type '|O', expected integers, floats or bools");
  EXPECT_EQ(
      error(write("s.npy", "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", "abcd")),
      "s.npy: holds 4 bytes of elements, its header says f32[2]");
  EXPECT_EQ(
      error(write("l.npy",
                  "{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387905,)}", "")),
      "l.npy: holds 0 bytes of elements, its header says f32[4611686018427387905]");
  EXPECT_EQ(error(write("h.npy", "{'descr': '<f4', 'shape': (1,)}", "abcd")),
            "h.npy: has a .npy header without descr, fortran_order or shape");
}

TEST_F(NumPyFiles, PreprocessingIsPerChannel) {
  write_npy(path("x.npy"), Tensor({1, 2, 2}, std::vector<uint8_t>{0, 255, 0, 255}));
  const Dataset data =
      Dataset::open(path("x.npy"), {.scale = 1.0 / 255, .mean = {0.5, 0}, .std = {0.5, 2}});
  const Tensor x = data.batch(relu({1, 2, 2}), 0, 1)[0];
  EXPECT_EQ(x.dtype(), DType::kF32);
  const std::vector<float> expected = {-1, 1, 0, 0.5};
  for (size_t i = 0; i < 4; ++i) EXPECT_FLOAT_EQ(x.data<float>()[i], expected[i]);
}

TEST_F(NumPyFiles, SamplesOfAnotherShapeAreRefused) {
  write_npy(path("train.npy"), Tensor(DType::kU8, {2, 3, 24, 24}));
  const Dataset data = Dataset::open(path("train.npy"), {});
  EXPECT_EQ(message([&] {
              data.check(relu({1, 3, 32, 32}));
            }),
            "train.npy: samples are [3,24,24], the model's input 'x' takes [3,32,32]");
  EXPECT_EQ(message([&] { data.check(relu({1, 3, 32, 32}, {"N", "", "H", "W"})); }), "no error");
}

TEST_F(NumPyFiles, MeanOfAnotherChannelCountIsRefused) {
  write_npy(path("x.npy"), Tensor(DType::kU8, {2, 4, 5}));
  const Dataset data = Dataset::open(path("x.npy"), {.mean = {1, 2, 3}});
  EXPECT_EQ(message([&] {
              data.check(relu({1, 4, 5}));
            }),
            "x.npy: mean has 3 numbers, the samples [4,5] have 4 channels");
}

TEST_F(NumPyFiles, AModelWithTwoInputsNeedsNamedArrays) {
  Graph graph = relu({1, 2});
  graph.add_input("y", {DType::kF32, {1, 2}});
  write_npy(path("x.npy"), Tensor(DType::kF32, {2, 2}));
  EXPECT_EQ(
      message([&] { Dataset::open(path("x.npy"), {}).check(graph); }),
      "x.npy: holds 1 array, the model takes 2 inputs ('x', 'y'), expected a .npz with arrays "
      "of these names");
}

TEST(Dataset, SpreadIsEvenAndAscending) {
  const Dataset data = Dataset::of({Tensor(DType::kF32, {10, 1})});
  EXPECT_EQ(data.spread(4), (std::vector<int64_t>{0, 2, 5, 7}));
  EXPECT_EQ(data.spread(99).size(), 10u);
}

TEST(Dataset, MaxBatchIsTheFixedOne) {
  EXPECT_EQ(Dataset::max_batch(relu({4, 2})), 4);
  EXPECT_GT(Dataset::max_batch(relu({1, 2}, {"N", ""})), 1000000);
}

TEST(Runner, GivesTheSameAtAnyThreadCountAndBatch) {
  Tensor x(DType::kF32, {13, 2});
  for (size_t i = 0; i < 26; ++i) x.mutable_data<float>()[i] = static_cast<float>(i) - 13;
  const Dataset data = Dataset::of({x});
  const std::vector<int64_t> all = data.spread(13);
  const Graph symbolic = relu({1, 2}, {"N", ""}), fixed = relu({4, 2});
  const Tensor expected = run_outputs(symbolic, data, all, run_options(1, 13))[0];
  EXPECT_EQ(expected.shape(), (Shape{13, 2}));
  EXPECT_TRUE(identical(run_outputs(symbolic, data, all, run_options(3, 5))[0], expected));
  EXPECT_TRUE(identical(run_outputs(fixed, data, all, run_options(2, 8))[0], expected));
}

TEST(Runner, KeepsWithinTheMemoryItIsGiven) {
  Tensor x(DType::kF32, {12, 1000});
  for (size_t i = 0; i < 12000; ++i) x.mutable_data<float>()[i] = static_cast<float>(i) - 6000;
  const Dataset data = Dataset::of({x});
  const Graph graph = relu({1, 1000}, {"N", ""});
  RunOptions options = run_options(2, 6);
  const Tensor expected = run_outputs(graph, data, data.spread(12), options)[0];
  options.max_memory = 20000;  // A sample is 4000 bytes in and 4000 out.
  EXPECT_TRUE(identical(run_outputs(graph, data, data.spread(12), options)[0], expected));
  options.max_memory = 3000;
  EXPECT_EQ(message([&] { run_outputs(graph, data, data.spread(12), options); }),
            "max-memory: a run of 1 sample needs 7.84 KiB for activations, more than 2.93 KiB");
}

TEST(Runner, StopsWhenAsked) {
  const Dataset data = Dataset::of({Tensor(DType::kF32, {4, 2})});
  const std::atomic<bool> stop{true};
  RunOptions options = run_options(2, 1);
  options.progress.cancelled = &stop;
  EXPECT_EQ(message([&] {
              run_outputs(relu({1, 2}), data, data.spread(4), options);
            }),
            "stopped by the user");
}

}  // namespace
}  // namespace pare
