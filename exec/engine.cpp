#include "exec/engine.h"

#include <utility>

namespace pare {

Engine::Engine(Graph graph, EngineOptions options)
    : options_(std::move(options)), graph_(std::move(graph)) {}

const Plan& Engine::plan_for(const std::vector<Tensor>& inputs) const {
  std::vector<Shape> shapes;
  for (const Tensor& input : inputs) shapes.push_back(input.shape());
  const std::lock_guard lock(mutex_);
  std::unique_ptr<Plan>& plan = plans_[shapes];
  if (plan) return *plan;
  const bool release = options_.weights == EngineOptions::Weights::kReleased;
  PARE_CHECK(!release || plans_.size() == 1, "an engine without weights met inputs of a new size");
  plan = std::make_unique<Plan>(
      release ? std::move(graph_) : graph_,
      PlanOptions{.input_shapes = shapes, .observed = options_.observed, .order = options_.order});
  return *plan;
}

std::vector<Tensor> Engine::run(const std::vector<Tensor>& inputs, const ValueHook& hook) const {
  return plan_for(inputs).run(inputs, hook);
}

}  // namespace pare
