// What a plan keeps in memory.

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>

#include "exec/plan.h"
#include "passes/quantize_int8.h"
#include "pruning_graphs.h"

namespace pare {
namespace {

std::weak_ptr<const Tensor> held(const Graph& graph, const std::string& name) {
  for (uint32_t i = 0; i < graph.value_count(); ++i) {
    if (graph.value(ValueId{i}).name == name) return graph.value(ValueId{i}).constant;
  }
  throw Error(ErrorKind::kInternal, "no constant " + name);
}

TEST(PlanMemory, WeightsThatArePackedAreLetGo) {
  Graph graph = small_resnet();
  const Tensor x = random_tensor(graph.shape(graph.inputs()[0]), 1);
  const Tensor expected = execute(graph, {x})[0];
  const std::weak_ptr<const Tensor> weights = held(graph, "a1.w");
  const Plan plan(std::move(graph));
  EXPECT_TRUE(weights.expired());
  EXPECT_LT(relative_difference(expected, plan.run({x})[0]), 1e-5);
}

TEST(PlanMemory, AProductOfOneRowReadsTheGraphsWeights) {
  Graph graph = small_resnet();
  const std::weak_ptr<const Tensor> weights = held(graph, "fc.w");
  const Tensor x = random_tensor({1, 3, 8, 8}, 1), two = random_tensor({2, 3, 8, 8}, 1);
  const Tensor expected = execute(graph, {x})[0], expected_of_two = execute(graph, {two})[0];
  {
    const Plan plan(graph);
    const Plan of_two(graph, {.input_shapes = {two.shape()}});
    EXPECT_LE(plan.weight_bytes() + weights.lock()->bytes().size(), of_two.weight_bytes());
    EXPECT_LT(relative_difference(expected_of_two, of_two.run({two})[0]), 1e-5);
  }
  const Plan plan(std::move(graph));
  EXPECT_FALSE(weights.expired());
  EXPECT_LT(relative_difference(expected, plan.run({x})[0]), 1e-5);
}

TEST(PlanMemory, QuantizedWeightsThatArePackedAreLetGo) {
  Builder b;
  b.graph.set_outputs({b.head(b.relu(b.conv(b.image(3, 8), 8, 3, "stem")), 4)});
  const Dataset data = random_images(8, 3, 8);
  PassContext context{.data = &data};
  make_quantize_int8({})->run(b.graph, context);
  std::weak_ptr<const Tensor> weights;
  for (NodeId id : b.graph.order()) {
    const Tensor* operand = b.graph.constant(b.graph.node(id).inputs[0]);
    if (operand && operand->dtype() == DType::kI8 && weights.expired())
      weights = b.graph.value(b.graph.node(id).inputs[0]).constant;
  }
  const Tensor x = random_tensor(b.graph.shape(b.graph.inputs()[0]), 1);
  const Tensor expected = Plan(b.graph).run({x})[0];
  ASSERT_FALSE(weights.expired());
  const Plan plan(std::move(b.graph));
  EXPECT_TRUE(weights.expired());
  EXPECT_TRUE(identical(expected, plan.run({x})[0]));
}

TEST(PlanMemory, WeightsOfAGraphThatIsStillThereStay) {
  const Graph graph = small_resnet();
  const std::weak_ptr<const Tensor> weights = held(graph, "a1.w");
  const Plan plan(graph);
  EXPECT_FALSE(weights.expired());
  EXPECT_EQ(weight_of(graph, "a1.w").data<float>().size(), 12u * 8 * 9);
}

TEST(PlanMemory, WeightsTheInterpreterReadsStay) {
  Builder b;
  const ValueId x = b.relu(b.conv(b.image(8, 8), 8, 3, "one"));
  const ValueId slope = b.graph.add_constant("slope", random_tensor({8, 1, 1}, 5));
  b.graph.set_outputs({b.head(b.graph.add_node("PRelu", {x, slope}), 3)});
  Graph graph = b.graph;
  const Tensor image = random_tensor(graph.shape(graph.inputs()[0]), 1);
  const Plan plan(std::move(graph));
  EXPECT_LT(relative_difference(execute(b.graph, {image})[0], plan.run({image})[0]), 1e-5);
}

TEST(PlanMemory, ActivationsAreKnownWithoutPackingWeights) {
  const Graph graph = small_resnet();
  const Plan plan(graph);
  EXPECT_EQ(Plan::activation_bytes_of(graph), plan.activation_bytes());
}

TEST(PlanMemory, ElementsInAnyOrderAreTheSameElements) {
  Builder b;
  const ValueId x = b.relu(b.conv(b.image(3, 9), 32, 3, "one"));
  b.graph.set_outputs({b.conv(x, 16, 3, "two")});
  const Tensor image = random_tensor(b.graph.shape(b.graph.inputs()[0]), 1);
  const auto sorted = [&](ElementOrder order) {
    std::vector<float> elements;
    Plan(b.graph, {.observed = {x}, .order = order})
        .run({image}, [&](ValueId id, const Tensor& tensor) {
          if (id == x) elements.assign(tensor.data<float>().begin(), tensor.data<float>().end());
        });
    std::ranges::sort(elements);
    return elements;
  };
  EXPECT_EQ(sorted(ElementOrder::kRowMajor), sorted(ElementOrder::kAny));
}

}  // namespace
}  // namespace pare
