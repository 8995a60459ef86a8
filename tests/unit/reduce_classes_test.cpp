#include "passes/reduce_classes.h"

#include <gtest/gtest.h>

#include <cstring>

#include "exec/interpreter.h"
#include "passes/class_labels.h"
#include "pruning_graphs.h"

namespace pare {
namespace {

PassStats reduce(Graph& graph, ReduceClassesOptions options) {
  PassContext context;
  PassStats stats = make_reduce_classes(options)->run(graph, context);
  verify(graph);
  return stats;
}

PassStats reduce(Graph& graph, const std::vector<int64_t>& keep, const std::string& output = "") {
  ReduceClassesOptions options;
  for (int64_t c : keep) options.keep.push_back(std::to_string(c));
  if (!output.empty()) options.hints.outputs = {output};
  return reduce(graph, options);
}

ReduceClassesOptions read(std::vector<std::string> keep) {
  Options options("", 0, "reduce-classes", {{"keep", {.items = std::move(keep), .is_list = true}}});
  return read_reduce_classes(options);
}

ValueId axis_one(Graph& graph) { return graph.add_constant("axis", Tensor::scalar(int64_t{1})); }

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
  b.graph.set_outputs(
      {logits, b.graph.add_node("CumSum", {logits, axis_one(b.graph)}, {}, "sums")});
  expect_error(ErrorKind::kUnsupported, "CumSum",
               [&] { reduce(b.graph, {0}, b.graph.value(logits).name); });
}

TEST(ReduceClasses, ShrinksEveryOutputOfTheSameClasses) {
  Builder b;
  const ValueId logits = b.head(b.relu(b.conv(b.image(3, 8), 6, 3, "stem")), 5);
  const ValueId scores = b.graph.add_node("Sigmoid", {logits}, {}, "scores");
  b.graph.set_outputs({logits, scores});
  reduce(b.graph, {1, 3}, b.graph.value(logits).name);
  EXPECT_EQ(b.graph.shape(logits), (Shape{1, 2}));
  EXPECT_EQ(b.graph.shape(scores), (Shape{1, 2}));
}

TEST(ReduceClasses, RefusesAClassThatIsNotThere) {
  Graph graph = small_resnet();
  expect_error(ErrorKind::kUsage, "class 5", [&] { reduce(graph, {0, 5}); });
}

TEST(ReduceClasses, KeepsWhatLiesBesideTheClasses) {
  // A head of 2 anchors with 4 coordinates and 3 classes each.
  Builder b;
  const ValueId head = b.conv(b.relu(b.conv(b.image(3, 8), 6, 3, "stem")), 14, 1, "head");
  b.graph.set_outputs({head});
  const Tensor x = random_tensor({1, 3, 8, 8}, 5);
  const Tensor before = execute(b.graph, {x})[0];
  ReduceClassesOptions options{.keep = {"0", "2"}};
  options.hints = {.first = 4, .anchors = 2};
  reduce(b.graph, options);
  const Tensor after = execute(b.graph, {x})[0];
  EXPECT_TRUE(identical(after, gather(before, 1, {0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 13})));
}

TEST(ReduceClasses, FindsTheClassesBesideBoxesOfAConcat) {
  Builder b;
  const ValueId x = b.relu(b.conv(b.image(3, 8), 6, 3, "stem"));
  const ValueId parts[] = {b.conv(x, 1, 1, "objects"), b.conv(x, 4, 1, "boxes"),
                           b.conv(x, 9, 1, "classes")};
  const ValueId all =
      b.graph.add_node("Concat", {parts[0], parts[1], parts[2]}, {{"axis", int64_t{1}}}, "all");
  b.graph.set_outputs({all});
  const PassStats stats = reduce(b.graph, {2, 8});
  EXPECT_EQ(std::get<int64_t>(stats.at("classes before")), 9);
  EXPECT_EQ(b.graph.shape(all), (Shape{1, 7, 8, 8}));
  EXPECT_EQ(b.graph.shape(parts[1])[1], 4);
}

TEST(ReduceClasses, IsNotMisledByAGridOfAsManyRowsAsThereAreClasses) {
  // YOLO levels as exporters write them: [1, anchors, H, W, 5 + C], here with C = H = W = 8.
  Builder b;
  const ValueId head = b.conv(b.relu(b.conv(b.image(3, 8), 6, 3, "stem")), 3 * 13, 1, "head");
  const ValueId shape =
      b.graph.add_constant("shape", Tensor({5}, std::vector<int64_t>{1, 3, 13, 8, 8}));
  const ValueId split = b.graph.add_node("Reshape", {head, shape});
  b.graph.set_outputs({b.graph.add_node("Transpose", {split},
                                        {{"perm", std::vector<int64_t>{0, 1, 3, 4, 2}}}, "level")});
  reduce(b.graph, {.keep = {"1"}, .labels = {"a", "b", "c", "d", "e", "f", "g", "h"}});
  EXPECT_EQ(b.graph.shape(b.graph.outputs()[0]), (Shape{1, 3, 8, 8, 6}));
}

TEST(ReduceClasses, TopKAsksForNoMoreThanIsLeft) {
  Graph graph = small_resnet();
  const ValueId k = graph.add_constant("k", Tensor({1}, std::vector<int64_t>{4}));
  const ValueId values = graph.add_node("TopK", {graph.outputs()[0], k}, {}, "top", 2);
  const std::vector<ValueId> outputs = graph.node(*graph.value(values).producer).outputs;
  graph.set_outputs(outputs);
  const Tensor x = random_tensor({1, 3, 8, 8}, 5);
  reduce(graph, {1, 3});
  const std::vector<Tensor> after = execute(graph, {x});
  EXPECT_EQ(after[0].shape(), (Shape{1, 2}));
  EXPECT_EQ(after[1].shape(), (Shape{1, 2}));
}

TEST(ReduceClasses, ShortensTheListOfClassesThatAnArgMaxLooksUp) {
  Graph graph = small_resnet();
  const ValueId best = graph.add_node("ArgMax", {graph.outputs()[0]},
                                      {{"axis", int64_t{1}}, {"keepdims", int64_t{0}}});
  const ValueId table =
      graph.add_constant("numbers", Tensor({5}, std::vector<int64_t>{10, 11, 12, 13, 14}));
  graph.set_outputs({graph.add_node("Gather", {table, best})});
  ReduceClassesOptions options{.keep = {"2", "4"}};
  options.hints.outputs = {graph.value(graph.node(*graph.value(best).producer).inputs[0]).name};
  reduce(graph, options);
  EXPECT_TRUE(identical(*graph.constant(table), Tensor({2}, std::vector<int64_t>{12, 14})));
}

TEST(ReduceClasses, RefusesIndicesOverClassesAndPlacesAtOnce) {
  Builder b;
  const ValueId map = b.conv(b.relu(b.conv(b.image(3, 8), 6, 3, "stem")), 5, 1, "heat");
  const ValueId flat = b.graph.add_node(
      "Reshape", {map, b.graph.add_constant("flat", Tensor({2}, std::vector<int64_t>{1, -1}))});
  const ValueId k = b.graph.add_constant("k", Tensor({1}, std::vector<int64_t>{3}));
  const ValueId top = b.graph.add_node("TopK", {flat, k}, {}, "peaks", 2);
  b.graph.set_outputs(b.graph.node(*b.graph.value(top).producer).outputs);
  expect_error(ErrorKind::kUnsupported, "pairs of a class and a place", [&] {
    reduce(b.graph, {0, 1}, b.graph.value(map).name);
  });
}

TEST(ReduceClasses, RefusesWhatPicksClassesByOtherNumbersThanTheirs) {
  Graph graph = small_resnet();
  const ValueId logits = graph.outputs()[0];
  const ValueId wanted = graph.add_input("wanted", {DType::kI64, {1}});
  graph.set_outputs({graph.add_node("Gather", {logits, wanted}, {{"axis", int64_t{1}}}, "pick")});
  expect_error(ErrorKind::kUnsupported, "'pick' (Gather) picks classes", [&] {
    reduce(graph, {0, 1}, graph.value(logits).name);
  });
}

TEST(ReduceClasses, MergesTheOthersIntoOneLogit) {
  Graph graph = small_resnet();
  graph.set_outputs({graph.add_node("Softmax", {graph.outputs()[0]}, {{"axis", int64_t{-1}}})});
  const Tensor x = random_tensor({2, 3, 8, 8}, 5);
  const Tensor before = execute(graph, {x})[0];
  reduce(graph, {.keep = {"1", "4"}, .others = ReduceClassesOptions::Others::kMerge});
  const Tensor after = execute(graph, {x})[0];
  ASSERT_EQ(after.shape(), (Shape{2, 3}));
  const std::span<const float> p = before.data<float>(), q = after.data<float>();
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_NEAR(q[3 * i], p[5 * i + 1], 1e-6f);
    EXPECT_NEAR(q[3 * i + 1], p[5 * i + 4], 1e-6f);
    EXPECT_NEAR(q[3 * i + 2], p[5 * i] + p[5 * i + 2] + p[5 * i + 3], 1e-6f);
  }
}

TEST(ReduceClasses, RefusesToMergeScoresThatDoNotCompete) {
  Graph graph = small_resnet();
  graph.set_outputs({graph.add_node("Sigmoid", {graph.outputs()[0]})});
  expect_error(ErrorKind::kUnsupported, "Sigmoid", [&] {
    reduce(graph, {.keep = {"1"}, .others = ReduceClassesOptions::Others::kMerge});
  });
}

TEST(ReduceClasses, RewritesTheLabelsOfTheMetadata) {
  Graph graph = small_resnet();
  graph.metadata["names"] = "{0: 'ant', 1: 'bee', 2: 'cat\\'s', 3: 'dog', 4: 'emu'}";
  reduce(graph, {.keep = {"Bee", "cat's"}});
  EXPECT_EQ(graph.metadata["names"], "{0: 'bee', 1: 'cat\\'s'}");
}

TEST(ReduceClasses, ReadsLabelsInTheFormsExportersWrite) {
  const std::vector<std::string> names = {"ant", "bee's"};
  for (const char* text : {"{0: 'ant', 1: \"bee's\"}", "{\"1\": \"bee's\", \"0\": \"ant\"}",
                           "[\"ant\", \"bee's\"]", "ant\nbee's\n", "ant, bee's"}) {
    Graph graph = small_resnet();
    graph.metadata = {{"labels", text}, {"stride", "32"}};
    const std::optional<ClassLabels> labels = labels_in_metadata(graph);
    ASSERT_TRUE(labels) << text;
    EXPECT_EQ(labels->names, names) << text;
    graph.metadata["labels"] = to_text(*labels);
    EXPECT_EQ(labels_in_metadata(graph)->names, names) << graph.metadata["labels"];
  }
}

TEST(ReduceClasses, TakesNoOtherMetadataForLabels) {
  for (const char* text : {"", "3", "{0: 'ant', 2: 'bee'}", "{0: 'ant', 1: [x]}", "[", "one"}) {
    Graph graph = small_resnet();
    graph.metadata["names"] = text;
    EXPECT_FALSE(labels_in_metadata(graph)) << text;
  }
}

TEST(ReduceClasses, TakesOneTextWithCommasForAList) {
  Options options("", 0, "reduce-classes", {{"keep", {.items = {"cat,3,7-9"}}}});
  EXPECT_EQ(read_reduce_classes(options).keep, (std::vector<std::string>{"cat", "3", "7-9"}));
}

TEST(ReduceClasses, KeepsTheBackgroundThatLabelsDoNotCount) {
  Graph graph = small_resnet();
  const PassStats stats = reduce(graph, {.keep = {"b", "d"}, .labels = {"a", "b", "c", "d"}});
  EXPECT_EQ(graph.shape(graph.outputs()[0])[1], 3);
  const StatTable& table = std::get<StatTable>(stats.at("labels"));
  ASSERT_EQ(table.rows.size(), 3u);
  EXPECT_EQ(std::get<std::string>(table.rows[0][2]), "background");
  EXPECT_EQ(std::get<int64_t>(table.rows[2][1]), 4);
  EXPECT_EQ(graph.metadata["names"], "{0: 'b', 1: 'd'}");
}

TEST(ReduceClasses, SaysWhatIsWrongWithARequest) {
  const auto asked = [](std::vector<std::string> keep) {
    return [keep] {
      Graph graph = small_resnet();
      reduce(graph, {.keep = keep, .labels = {"ant", "bee", "cat", "dog", "emu"}});
    };
  };
  expect_error(ErrorKind::kUsage, "did you mean 'bee'", asked({"bees"}));
  expect_error(ErrorKind::kUsage, "stands twice", asked({"ant", "0"}));
  expect_error(ErrorKind::kUsage, "runs backwards", asked({"3-1"}));
  expect_error(ErrorKind::kUsage, "class 7 is not there", asked({"3-7"}));
  expect_error(ErrorKind::kUsage, "no class is called '-1'", asked({"-1"}));
  expect_error(ErrorKind::kUsage, "list of classes", [] { read({}); });
}

}  // namespace
}  // namespace pare
