#include "exec/engine.h"

#include <utility>

namespace pare {

Engine::Engine(Graph graph, std::vector<ValueId> observed)
    : graph_(std::move(graph)), observed_(std::move(observed)) {}

const Plan& Engine::plan_for(const std::vector<Tensor>& inputs) const {
  std::vector<Shape> shapes;
  for (const Tensor& input : inputs) shapes.push_back(input.shape());
  const std::lock_guard lock(mutex_);
  std::unique_ptr<Plan>& plan = plans_[shapes];
  if (!plan)
    plan =
        std::make_unique<Plan>(graph_, PlanOptions{.input_shapes = shapes, .observed = observed_});
  return *plan;
}

std::vector<Tensor> Engine::run(const std::vector<Tensor>& inputs, const ValueHook& hook) const {
  return plan_for(inputs).run(inputs, hook);
}

}  // namespace pare
