#include "passes/reduce_classes.h"

#include <gtest/gtest.h>

#include <cstring>

#include "exec/interpreter.h"
#include "pruning_graphs.h"

namespace pare {
namespace {

void reduce(Graph& graph, std::vector<int64_t> keep, const std::string& output = "") {
  PassContext context;
  make_reduce_classes({.keep = std::move(keep), .output = output})->run(graph, context);
  verify(graph);
}

ReduceClassesOptions read(std::vector<std::string> keep) {
  Options options("", 0, "reduce-classes", {{"keep", {.items = std::move(keep), .is_list = true}}});
  return read_reduce_classes(options);
}

void expect_error(ErrorKind kind, const std::string& part, const std::function<void()>& body) {
  try {
    body();
    FAIL() << "must throw";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind);
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

TEST(ReduceClasses, KeepsTheLogitsOfTheKeptClasses) {
  Graph graph = small_resnet();
  const Tensor x = random_tensor({2, 3, 8, 8}, 5);
  const Tensor before = execute(graph, {x})[0];
  reduce(graph, {1, 4});
  const Tensor after = execute(graph, {x})[0];
  EXPECT_EQ(after.shape(), (Shape{2, 2}));
  EXPECT_TRUE(identical(after, gather(before, 1, {1, 4})));
}

TEST(ReduceClasses, NormalisesOverTheKeptClasses) {
  Graph graph = small_resnet();
  graph.set_outputs({graph.add_node("Softmax", {graph.outputs()[0]}, {{"axis", int64_t{-1}}})});
  reduce(graph, {0, 2, 3});
  const Tensor after = execute(graph, {random_tensor({1, 3, 8, 8}, 5)})[0];
  ASSERT_EQ(after.shape(), (Shape{1, 3}));
  const std::span<const float> p = after.data<float>();
  EXPECT_NEAR(p[0] + p[1] + p[2], 1.0f, 1e-6f);
}

TEST(ReduceClasses, FindsTheClassesOfASegmentationMap) {
  Builder b;
  b.graph.set_outputs({b.conv(b.relu(b.conv(b.image(3, 8), 6, 3, "stem")), 4, 1, "classes")});
  reduce(b.graph, {0, 3});
  EXPECT_EQ(b.graph.shape(b.graph.outputs()[0]), (Shape{1, 2, 8, 8}));
}

TEST(ReduceClasses, AsksWhichOutputWhenSeveralMayHoldClasses) {
  Builder b;
  const ValueId x = b.relu(b.conv(b.image(3, 8), 6, 3, "stem"));
  const ValueId scores = b.conv(x, 4, 1, "scores"), boxes = b.conv(x, 8, 1, "boxes");
  b.graph.set_outputs({scores, boxes});
  Graph asked = b.graph;
  expect_error(ErrorKind::kUsage, "scores", [&] { reduce(asked, {0}); });
  reduce(b.graph, {0, 1}, b.graph.value(scores).name);
  EXPECT_EQ(b.graph.shape(scores)[1], 2);
  EXPECT_EQ(b.graph.shape(boxes)[1], 8);
}

TEST(ReduceClasses, SaysWhichNodeHoldsOnToAClass) {
  Builder b;
  const ValueId logits = b.head(b.relu(b.conv(b.image(3, 8), 6, 3, "stem")), 5);
  b.graph.set_outputs({logits, b.graph.add_node("Relu", {logits}, {}, "copy")});
  expect_error(ErrorKind::kUnsupported, "interface",
               [&] { reduce(b.graph, {0}, b.graph.value(logits).name); });
}

TEST(ReduceClasses, RefusesAClassThatIsNotThere) {
  Graph graph = small_resnet();
  expect_error(ErrorKind::kUsage, "class 5", [&] { reduce(graph, {0, 5}); });
}

TEST(ReduceClasses, ReadsIndicesAndRanges) {
  EXPECT_EQ(read({"7-9", "3", "0", "3"}).keep, (std::vector<int64_t>{0, 3, 7, 8, 9}));
}

TEST(ReduceClasses, RejectsWhatIsNoIndex) {
  for (const char* word : {"cat", "-1", "9-7", "1-", "1.5", ""})
    EXPECT_THROW(read({word}), Error) << word;
  EXPECT_THROW(read({}), Error);
}

}  // namespace
}  // namespace pare
