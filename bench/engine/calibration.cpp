// Times what calibration costs beside bare forward passes, in processor time of all threads:
//
//   calibration MODEL [IMAGES]
//
// ranges:  ranges and histograms of every operand of a Conv, Gemm, MatMul and Add
// moments: Gram matrices and targets of every Conv, 64 positions an image
//
// Prints one JSON object of seconds. The samples are noise in the shape of the model's one input.

#include <algorithm>
#include <ctime>
#include <iostream>
#include <random>
#include <set>

#include "calib/calibrate.h"
#include "calib/gram.h"
#include "importers/onnx/import.h"
#include "ops/ops.h"
#include "passes/lockstep.h"
#include "support/parallel.h"

namespace pare {
namespace {

constexpr int64_t kPositions = 64;

template <typename Body>
double seconds_of(const Body& body) {
  const std::clock_t start = std::clock();
  body();
  return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
}

std::vector<ValueId> operands(const Graph& graph) {
  static constexpr std::string_view kOps[] = {"Conv", "Gemm", "MatMul", "Add"};
  std::set<ValueId> values;
  for (NodeId id : graph.order()) {
    const Node& node = graph.node(id);
    if (std::ranges::find(kOps, node.op) == std::end(kOps)) continue;
    for (ValueId input : node.inputs) {
      if (input != kNoValue && !graph.constant(input)) values.insert(input);
    }
  }
  return {values.begin(), values.end()};
}

void gather_moments(const Graph& graph, const Dataset& data) {
  Lockstep lockstep(graph, graph, data, {.samples = data.spread(data.size())});
  for (size_t i = 0; i < lockstep.order().size(); ++i) {
    const NodeId id = lockstep.order()[i];
    lockstep.run_original(id);
    const std::optional<PatchView> view = PatchView::of(graph, id);
    if (view && graph.node(id).op == "Conv") {
      gather_gram({.groups = view->groups(),
                   .inputs = view->inputs(),
                   .outputs = view->outputs(),
                   .chunks = lockstep.batches()},
                  1, [&](int64_t chunk, SampleRows& rows) {
                    const Tensor& y = lockstep.original(graph.node(id).outputs[0], chunk);
                    const Positions positions =
                        view->positions(y.shape(), lockstep.samples(chunk),
                                        lockstep.first_sample(chunk), kPositions);
                    rows.rows = positions.size();
                    view->read_patches(lockstep.original(graph.node(id).inputs[0], chunk),
                                       positions, rows.patches);
                    view->read_outputs(y, positions, rows.targets);
                  });
    }
    lockstep.release(i);
  }
}

Dataset noise(const Graph& graph, int64_t images) {
  Shape shape = graph.shape(graph.inputs().at(0));
  shape.at(0) = images;
  Tensor tensor = Tensor::uninitialized(DType::kF32, shape);
  std::mt19937 random(1);
  for (float& x : tensor.mutable_data<float>())
    x = static_cast<float>(random() >> 8) / 4194304.0f - 2.0f;
  return Dataset::of({tensor});
}

void run(const std::string& path, int64_t images) {
  const Graph graph = import_onnx(path, onnx_ops(), {});
  const Dataset data = noise(graph, images);
  const std::vector<int64_t> all = data.spread(data.size());
  const double forward = seconds_of([&] { run_outputs(graph, data, all, {}); });
  const double ranges = seconds_of([&] {
    calibrate(graph, data, all, operands(graph), {.method = RangeMethod::kLeastSquares});
  });
  const double moments = seconds_of([&] { gather_moments(graph, data); });
  std::cout << "{\"images\": " << images << ", \"forward\": " << forward
            << ", \"ranges\": " << ranges << ", \"moments\": " << moments << "}\n";
}

}  // namespace
}  // namespace pare

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "expected: calibration MODEL [IMAGES]\n";
    return 2;
  }
  try {
    pare::run(argv[1], argc > 2 ? std::stoll(argv[2]) : 128);
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
