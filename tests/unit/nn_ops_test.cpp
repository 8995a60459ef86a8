// Convolution, pooling, normalization, matrix products and recurrence: values worked out by hand,
// properties, costs and refusals. tests/conformance holds them to ONNX's own test cases.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "exec/interpreter.h"
#include "ir/window.h"
#include "ops/ops.h"
#include "passes/upgrade_opset.h"

namespace pare {
namespace {

using testing::ElementsAre;
using testing::FloatNear;
using testing::HasSubstr;
using testing::Pointwise;
using Integers = std::vector<int64_t>;

Tensor normal(Shape shape, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> distribution;
  std::vector<float> values(static_cast<size_t>(element_count(shape)));
  for (float& value : values) value = distribution(random);
  return Tensor(std::move(shape), values);
}

Tensor counting(Shape shape) {
  std::vector<float> values(static_cast<size_t>(element_count(shape)));
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  return Tensor(std::move(shape), values);
}

/// One node whose first operand is the graph's input and whose others are constants.
struct OneNode {
  OneNode(std::string_view op, Tensor x, const std::vector<Tensor>& rest, Attributes attributes,
          size_t outputs = 1, int64_t opset = 17)
      : graph(onnx_ops()), input(std::move(x)) {
    graph.set_opset("", opset);
    std::vector<ValueId> operands = {graph.add_input("x", input.type())};
    for (const Tensor& tensor : rest) operands.push_back(graph.add_constant("w", tensor));
    const ValueId y = graph.add_node(op, operands, std::move(attributes), "n", outputs);
    graph.set_outputs(graph.node(*graph.value(y).producer).outputs);
  }

  std::vector<Tensor> run() const { return execute(graph, {input}); }
  const Node& node() const { return graph.node(graph.order()[0]); }
  uint64_t macs() const {
    return node().def->macs(node(), graph.operands(node()), graph.output_types(node()));
  }

  Graph graph;
  Tensor input;
};

std::vector<float> values(const Tensor& tensor) {
  return {tensor.data<float>().begin(), tensor.data<float>().end()};
}

void expect_close(const Tensor& a, const Tensor& b) {
  ASSERT_EQ(a.shape(), b.shape());
  EXPECT_THAT(values(a), Pointwise(FloatNear(1e-4f), values(b)));
}

/// Runs `body` and returns the error it throws, which must be of `kind`.
template <typename Body>
std::string error_of(ErrorKind kind, Body&& body) {
  try {
    body();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "no error was thrown";
  return {};
}

// -- Windows and im2col ------------------------------------------------------------

Window small_window() {
  Node node;
  node.attributes = {
      {"strides", Integers{2, 1}}, {"pads", Integers{1, 0, 0, 2}}, {"dilations", Integers{1, 2}}};
  return sliding_window(node, {1, 2, 7, 6}, {3, 2});
}

TEST(Im2col, Col2imIsItsAdjoint) {
  const Window w = small_window();
  const Tensor x = normal({2, w.input_size()}, 1), c = normal({2 * w.taps(), w.positions()}, 2);
  Tensor columns(DType::kF32, c.shape()), image(DType::kF32, x.shape());
  im2col(w, 2, x.data<float>().data(), 0, w.positions(), columns.mutable_data<float>().data(),
         w.positions());
  col2im(w, 2, c.data<float>().data(), w.positions(), 0, w.positions(),
         image.mutable_data<float>().data());
  float forward = 0, backward = 0;
  for (size_t i = 0; i < columns.data<float>().size(); ++i)
    forward += columns.data<float>()[i] * c.data<float>()[i];
  for (size_t i = 0; i < x.data<float>().size(); ++i)
    backward += x.data<float>()[i] * image.data<float>()[i];
  EXPECT_NEAR(forward, backward, 1e-3);
}

/// A convolution that keeps the extents, for which whole images are copied at once.
Window same_window(int64_t dilation) {
  Node node;
  node.attributes = {{"pads", Integers{dilation, dilation, dilation, dilation}},
                     {"dilations", Integers{dilation, dilation}}};
  return sliding_window(node, {1, 2, 5, 6}, {3, 3});
}

TEST(Im2col, APatchIsAColumn) {
  for (const Window& w : {small_window(), same_window(1), same_window(4)}) {
    const Tensor x = normal({2, w.input_size()}, 1);
    for (int64_t p = 0; p < w.positions(); ++p) {
      std::vector<float> row(static_cast<size_t>(2 * w.taps())), column(row.size());
      patch(w, 2, x.data<float>().data(), p, row.data());
      im2col(w, 2, x.data<float>().data(), p, 1, column.data(), 1);
      EXPECT_EQ(row, column) << p;
    }
  }
}

TEST(Im2col, TilesAreStretchesOfTheWhole) {
  for (const Window& w : {small_window(), same_window(1), same_window(4)}) {
    const Tensor x = normal({2, w.input_size()}, 1);
    const auto rows = static_cast<size_t>(2 * w.taps());
    const auto positions = static_cast<size_t>(w.positions());
    for (int64_t first = 0; first < w.positions(); first += 4) {
      const auto count = static_cast<size_t>(std::min<int64_t>(7, w.positions() - first));
      std::vector<float> whole(rows * positions), tile(rows * count, -1.0f);
      im2col(w, 2, x.data<float>().data(), 0, w.positions(), whole.data(), w.positions());
      im2col(w, 2, x.data<float>().data(), first, static_cast<int64_t>(count), tile.data(),
             static_cast<int64_t>(count));
      for (size_t i = 0; i < tile.size(); ++i)
        EXPECT_EQ(tile[i], whole[i / count * positions + static_cast<size_t>(first) + i % count]);
    }
  }
}

TEST(Im2col, ASameConvolutionReadsZerosAroundTheImage) {
  const Window w = same_window(1);
  std::vector<float> x(30), row(9);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i + 1);
  patch(w, 1, x.data(), 0, row.data());
  EXPECT_THAT(row, ElementsAre(0, 0, 0, 0, 1, 2, 0, 7, 8));
  patch(w, 1, x.data(), 11, row.data());  // The right end of the second row.
  EXPECT_THAT(row, ElementsAre(5, 6, 0, 11, 12, 0, 17, 18, 0));
}

TEST(Window, DropsALastWindowThatStartsBehindTheImage) {
  Node node;
  node.attributes = {{"strides", Integers{2}}, {"pads", Integers{1, 1}}, {"ceil_mode", int64_t{1}}};
  EXPECT_EQ(sliding_window(node, {1, 1, 3}, {1}).output[2], 2);
}

TEST(Window, RefusesAttributesThatWouldOverflow) {
  Node node;
  node.attributes = {{"dilations", Integers{int64_t{1} << 62}}};
  EXPECT_THAT(error_of(ErrorKind::kInput,
                       [&] {
                         sliding_window(node, {1, 1, 3}, {3});
                       }),
              HasSubstr("attribute 'dilations'"));
}

// -- Conv --------------------------------------------------------------------------

TEST(Conv, PadsEachSideByItself) {
  const OneNode conv("Conv", counting({1, 1, 2, 2}),
                     {Tensor({1, 1, 2, 2}, std::vector<float>{1, 10, 100, 1000}),
                      Tensor({1}, std::vector<float>{0.5f})},
                     {{"pads", Integers{1, 0, 0, 1}}});
  EXPECT_THAT(values(conv.run()[0]), ElementsAre(1000.5f, 100.5f, 3210.5f, 301.5f));
}

TEST(Conv, DepthwiseIsDenseWithZerosElsewhere) {
  for (int64_t stride : {1, 2, 3}) {
    const Tensor x = normal({2, 4, 9, 8}, 1), w = normal({8, 1, 3, 2}, 2), b = normal({8}, 3);
    Tensor dense(DType::kF32, {8, 4, 3, 2});
    for (size_t o = 0; o < 8; ++o) {
      for (size_t t = 0; t < 6; ++t)
        dense.mutable_data<float>()[(o * 4 + o / 2) * 6 + t] = w.data<float>()[o * 6 + t];
    }
    Attributes attributes = {{"strides", Integers{stride, stride}},
                             {"dilations", Integers{2, 3}},
                             {"pads", Integers{1, 2, 3, 0}}};
    const Tensor expected = OneNode("Conv", x, {dense, b}, attributes).run()[0];
    attributes["group"] = int64_t{4};
    expect_close(OneNode("Conv", x, {w, b}, attributes).run()[0], expected);
  }
}

TEST(Conv, ComputesInDoubleToo) {
  const Tensor x = normal({1, 3, 5, 5}, 1), w = normal({4, 3, 3, 3}, 2);
  const Tensor y = OneNode("Conv", cast(x, DType::kF64), {cast(w, DType::kF64)}, {}).run()[0];
  EXPECT_EQ(y.dtype(), DType::kF64);
  expect_close(cast(y, DType::kF32), OneNode("Conv", x, {w}, {}).run()[0]);
}

TEST(Conv, SaysWhichChannelsDoNotFit) {
  EXPECT_EQ(error_of(ErrorKind::kInput,
                     [] {
                       OneNode("Conv", normal({1, 3, 4, 4}, 1), {normal({8, 4, 1, 1}, 2)}, {});
                     }),
            "node 'n' (Conv): weight [8,4,1,1] with group=1 needs 4 input channels, but the input "
            "is [1,3,4,4]");
}

TEST(Conv, CountsAMacForEachWeightOfEachOutput) {
  // The stem of ResNet-50: 118 MMAC.
  const OneNode stem("Conv", Tensor(DType::kF32, {1, 3, 224, 224}),
                     {Tensor(DType::kF32, {64, 3, 7, 7})},
                     {{"strides", Integers{2, 2}}, {"pads", Integers{3, 3, 3, 3}}});
  EXPECT_EQ(stem.macs(), 112u * 112 * 64 * 3 * 49);
  const OneNode depthwise("Conv", Tensor(DType::kF32, {1, 8, 10, 10}),
                          {Tensor(DType::kF32, {8, 1, 3, 3})}, {{"group", int64_t{8}}});
  EXPECT_EQ(depthwise.macs(), 8u * 8 * 8 * 9);
}

TEST(ConvTranspose, SpreadsEachElementOverItsWindow) {
  const OneNode node("ConvTranspose", Tensor({1, 1, 2}, std::vector<float>{1, 2}),
                     {Tensor({1, 1, 3}, std::vector<float>{1, 10, 100})},
                     {{"strides", Integers{2}}});
  EXPECT_THAT(values(node.run()[0]), ElementsAre(1, 10, 102, 20, 200));
  EXPECT_EQ(node.macs(), 2u * 3);
}

// -- Pooling -----------------------------------------------------------------------

TEST(MaxPool, IndicesCountThroughTheWholeInput) {
  Attributes attributes = {{"kernel_shape", Integers{2, 2}}, {"strides", Integers{2, 2}}};
  const Tensor x = counting({1, 2, 2, 4});
  const Tensor by_row = OneNode("MaxPool", x, {}, attributes, 2).run()[1];
  EXPECT_THAT(by_row.data<int64_t>(), ElementsAre(5, 7, 13, 15));
  attributes["storage_order"] = int64_t{1};
  const Tensor by_column = OneNode("MaxPool", x, {}, attributes, 2).run()[1];
  EXPECT_THAT(by_column.data<int64_t>(), ElementsAre(3, 7, 11, 15));
}

TEST(AveragePool, CountsPaddingOnlyWhenAsked) {
  Attributes attributes = {{"kernel_shape", Integers{2}}, {"pads", Integers{1, 0}}};
  const Tensor x({1, 1, 2}, std::vector<float>{4, 8});
  EXPECT_THAT(values(OneNode("AveragePool", x, {}, attributes).run()[0]), ElementsAre(4, 6));
  attributes["count_include_pad"] = int64_t{1};
  EXPECT_THAT(values(OneNode("AveragePool", x, {}, attributes).run()[0]), ElementsAre(2, 6));
}

TEST(AveragePool, RefusesAWindowLargerThanTheInput) {
  EXPECT_THAT(
      error_of(ErrorKind::kInput,
               [] {
                 OneNode("AveragePool", counting({1, 1, 3}), {}, {{"kernel_shape", Integers{4}}});
               }),
      HasSubstr("a window of 4 does not fit into the padded extent 3"));
}

// -- Normalization -----------------------------------------------------------------

TEST(BatchNormalization, RefusesToTrain) {
  const Tensor p = counting({2});
  const OneNode node("BatchNormalization", counting({1, 2, 2}), {p, p, p, p},
                     {{"training_mode", int64_t{1}}});
  EXPECT_THAT(error_of(ErrorKind::kUnsupported, [&] { node.run(); }),
              HasSubstr("'training_mode' is 1"));
}

TEST(BatchNormalization, NamesTheParameterThatDoesNotFit) {
  const Tensor p = counting({2});
  EXPECT_THAT(
      error_of(ErrorKind::kInput,
               [&] {
                 OneNode("BatchNormalization", counting({1, 2, 2}), {p, p, counting({3}), p}, {});
               }),
      HasSubstr("mean is [3], but X [1,2,2] has 2 channels"));
}

TEST(GroupNormalization, MeansTheSameAfterAnUpgradeToOpset21) {
  OneNode node("GroupNormalization", normal({2, 6, 4}, 1), {normal({3}, 2), normal({3}, 3)},
               {{"num_groups", int64_t{3}}}, 1, 18);
  const Tensor before = node.run()[0];
  upgrade_opset(node.graph, 21);
  EXPECT_EQ(node.graph.shape(node.node().inputs[1]), (Shape{6}));
  expect_close(node.run()[0], before);
}

TEST(LayerNormalization, HasNoUseForAFarOffMean) {
  Tensor x = counting({1, 4});
  for (float& value : x.mutable_data<float>()) value += 1e6f;
  const Tensor scale({4}, std::vector<float>(4, 1.0f));
  const OneNode far("LayerNormalization", x, {scale}, {});
  expect_close(far.run()[0], OneNode("LayerNormalization", counting({1, 4}), {scale}, {}).run()[0]);
}

// -- Products ----------------------------------------------------------------------

TEST(MatMul, CountsAndRefuses) {
  const OneNode node("MatMul", normal({2, 1, 3, 4}, 1), {normal({5, 4, 6}, 2)}, {});
  EXPECT_EQ(node.run()[0].shape(), (Shape{2, 5, 3, 6}));
  EXPECT_EQ(node.macs(), 2u * 5 * 3 * 6 * 4);
  EXPECT_THAT(error_of(ErrorKind::kInput,
                       [] {
                         OneNode("MatMul", normal({3, 4}, 1), {normal({5, 6}, 2)}, {});
                       }),
              HasSubstr("inner extents differ: A is [3,4], B is [5,6]"));
}

TEST(Gemm, ScalesIntegersByWholeNumbersOnly) {
  const Tensor a({1, 1}, Integers{3});
  EXPECT_EQ(OneNode("Gemm", a, {a}, {{"alpha", 2.0f}}).run()[0].data<int64_t>()[0], 18);
  const OneNode half("Gemm", a, {a}, {{"alpha", 0.5f}});
  EXPECT_THAT(error_of(ErrorKind::kUnsupported, [&] { half.run(); }), HasSubstr("0.5"));
}

TEST(Einsum, LoopsAndGemmAgree) {
  const Tensor a = normal({2, 3, 4}, 1), b = normal({2, 5, 4}, 2);
  const Tensor one({}, std::vector<float>{1});
  const Attributes two = {{"equation", std::string("bik,bjk->jbi")}};
  const Attributes three = {{"equation", std::string("bik,bjk,->jbi")}};
  const OneNode by_gemm("Einsum", a, {b}, two);
  expect_close(OneNode("Einsum", a, {b, one}, three).run()[0], by_gemm.run()[0]);
  EXPECT_EQ(by_gemm.macs(), 2u * 3 * 5 * 4);
}

TEST(Einsum, RefusesALetterOfTwoExtents) {
  EXPECT_THAT(error_of(ErrorKind::kInput,
                       [] {
                         OneNode("Einsum", normal({2, 3}, 1), {normal({4, 5}, 2)},
                                 {{"equation", std::string("ij,jk->ik")}});
                       }),
              HasSubstr("binds one letter to extents 3 and 4"));
}

// -- Recurrence --------------------------------------------------------------------

TEST(Rnn, ReverseRunsEachSequenceFromItsOwnEnd) {
  // h' = relu(x + h) over the sequences (1, 2, 3) and (4, 5, -).
  const Tensor x({3, 2, 1}, std::vector<float>{1, 4, 2, 5, 3, 9});
  const Tensor one({1, 1, 1}, std::vector<float>{1}), none({1, 2}, std::vector<float>{0, 0});
  const OneNode node(
      "RNN", x, {one, one, none, Tensor({2}, std::vector<int32_t>{3, 2})},
      {{"direction", std::string("reverse")}, {"activations", std::vector<std::string>{"Relu"}}},
      2);
  const std::vector<Tensor> y = node.run();
  EXPECT_THAT(values(y[0]), ElementsAre(6, 9, 5, 5, 3, 0));
  EXPECT_THAT(values(y[1]), ElementsAre(6, 9));
}

TEST(Rnn, RefusesASequenceLongerThanTheInput) {
  const Tensor one({1, 1, 1}, std::vector<float>{1}), none({1, 2}, std::vector<float>{0, 0});
  const OneNode node("RNN", one, {one, one, none, Tensor({1}, std::vector<int32_t>{2})}, {});
  EXPECT_THAT(error_of(ErrorKind::kInput, [&] { node.run(); }),
              HasSubstr("sequence_lens holds 2, but X has 1 steps"));
}

TEST(Lstm, BatchFirstIsTheSameTransposed) {
  const Tensor w = normal({1, 8, 3}, 1), r = normal({1, 8, 2}, 2), x = normal({1, 4, 3}, 3);
  const OneNode time_first("LSTM", x.reshaped({4, 1, 3}), {w, r}, {}, 3);
  const OneNode batch_first("LSTM", x, {w, r}, {{"layout", int64_t{1}}}, 3);
  const std::vector<Tensor> a = time_first.run(), b = batch_first.run();
  EXPECT_EQ(b[0].shape(), (Shape{1, 4, 1, 2}));
  EXPECT_EQ(values(a[0]), values(b[0]));
  EXPECT_EQ(values(a[2]), values(b[2]));
  EXPECT_EQ(time_first.macs(), 4u * 8 * (3 + 2));
}

}  // namespace
}  // namespace pare
