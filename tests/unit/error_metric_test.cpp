#include "passes/error_metric.h"

#include <gtest/gtest.h>

#include "passes/graph_edit.h"
#include "passes/output_loss.h"
#include "pruning_graphs.h"

namespace pare {
namespace {

NodeId node_named(const Graph& graph, const std::string& name) {
  for (NodeId id : graph.order()) {
    if (graph.node(id).name == name) return id;
  }
  throw Error(ErrorKind::kInternal, "no node " + name);
}

std::vector<int64_t> first_samples(int64_t count) {
  std::vector<int64_t> samples;
  for (int64_t i = 0; i < count; ++i) samples.push_back(i);
  return samples;
}

class ErrorMetricTest : public ::testing::Test {
 protected:
  ErrorMetrics measure(const Graph& graph, int threads = 2, int64_t memory = int64_t{1} << 30) {
    return measure_error_metrics(graph, first_samples(data_.size()), memory, context(threads));
  }
  double loss(const Graph& reference, const Graph& graph) {
    return output_loss(reference, graph, first_samples(data_.size()), context(2));
  }

  PassContext context(int threads) const { return {.data = &data_, .threads = threads}; }

  Dataset data_ = random_images(512, 3, 8);
};

/// The graph with something added to a bias.
Graph shifted(Graph graph, const std::string& node, const std::vector<float>& by) {
  const NodeId id = node_named(graph, node);
  Tensor bias = *graph.constant(graph.node(id).inputs[2]);
  for (size_t i = 0; i < by.size(); ++i) bias.mutable_data<float>()[i] += by[i];
  set_constant_operand(graph, id, 2, bias);
  return graph;
}

double predicted(const ErrorMetric& metric, const std::vector<float>& error) {
  double sum = 0;
  for (size_t i = 0; i < error.size(); ++i) {
    for (size_t j = 0; j < error.size(); ++j)
      sum += static_cast<double>(error[i]) * static_cast<double>(error[j]) *
             metric.weights.row(static_cast<int64_t>(i))[j];
  }
  return sum;
}

TEST_F(ErrorMetricTest, SaysWhatErrorsOfLogitsCost) {
  const Graph graph = small_resnet();
  const ErrorMetric metric = measure(graph).at(node_named(graph, "fc"));
  for (const std::vector<float>& error :
       {std::vector<float>{0.3f, 0, 0, 0, 0}, {0, 0.2f, -0.2f, 0.1f, 0}}) {
    const double lost = loss(graph, shifted(graph, "fc", error));
    EXPECT_NEAR(predicted(metric, error), lost, 0.15 * lost);
  }
  // A constant added to all logits changes nothing.
  EXPECT_NEAR(predicted(metric, {1, 1, 1, 1, 1}), 0, 1e-6);
}

TEST_F(ErrorMetricTest, KnowsADistributionByItsLogits) {
  const Graph logits = small_resnet();
  Graph distribution = small_resnet();
  const ValueId y = distribution.add_node("Softmax", {distribution.outputs()[0]});
  distribution.set_outputs({distribution.add_node("Identity", {y})});
  const NodeId fc = node_named(logits, "fc");
  EXPECT_EQ(measure(logits).at(fc).weights.data, measure(distribution).at(fc).weights.data);
  EXPECT_NEAR(loss(logits, shifted(logits, "fc", {0.5f})),
              loss(distribution, shifted(distribution, "fc", {0.5f})), 1e-6);
}

TEST_F(ErrorMetricTest, FindsWhatNothingReads) {
  // Channel 3 of "one" meets zeros only.
  Builder b;
  const ValueId one = b.conv(b.image(3, 8), 6, 3, "one");
  Tensor weight = random_tensor({8, 6, 1, 1}, 3);
  for (size_t o = 0; o < 8; ++o) weight.mutable_data<float>()[o * 6 + 3] = 0;
  const ValueId two = b.graph.add_node("Conv", {one, b.graph.add_constant("two.w", weight)});
  b.graph.set_outputs({b.head(b.relu(two), 5)});
  const ErrorMetric metric = measure(b.graph).at(node_named(b.graph, "one"));
  for (int64_t i = 0; i < 6; ++i) {
    EXPECT_EQ(metric.weights.row(3)[i], 0);
    EXPECT_EQ(metric.weights.row(i)[i] > 0, i != 3);
  }
  const std::vector<int64_t> some{1, 3};
  const Matrix part = metric.of(some);
  EXPECT_GT(part.row(1)[1], 0);  // Damped.
  EXPECT_GT(part.row(0)[0], metric.weights.row(1)[1]);
  EXPECT_EQ(part.row(0)[1], 0);
}

TEST_F(ErrorMetricTest, IsTheSameAtAnyNumberOfThreads) {
  const Graph graph = small_resnet();
  for (const int64_t memory : {int64_t{1} << 30, int64_t{1} << 20}) {
    const ErrorMetrics one = measure(graph, 1, memory), three = measure(graph, 3, memory);
    ASSERT_EQ(one.size(), 6u);
    for (const auto& [id, metric] : one) EXPECT_EQ(metric.weights.data, three.at(id).weights.data);
  }
}

TEST_F(ErrorMetricTest, LeavesOutWhatHasNoDerivative) {
  Builder b;
  const ValueId one = b.conv(b.image(3, 8), 6, 3, "one");
  const ValueId axis = b.graph.add_constant("axis", Tensor(Shape{}, std::vector{int64_t{1}}));
  const ValueId summed = b.graph.add_node("CumSum", {one, axis});
  b.graph.set_outputs({b.head(b.relu(b.conv(summed, 6, 3, "two")), 5)});
  const ErrorMetrics metrics = measure(b.graph);
  EXPECT_FALSE(metrics.contains(node_named(b.graph, "one")));
  EXPECT_TRUE(metrics.contains(node_named(b.graph, "two")));
}

}  // namespace
}  // namespace pare
