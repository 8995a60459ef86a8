#include "passes/output_loss.h"

#include <algorithm>
#include <cmath>

#include "calib/runner.h"
#include "calib/weighted.h"
#include "exec/engine.h"
#include "ir/slice.h"
#include "passes/graph_edit.h"
#include "support/random.h"

namespace pare {
namespace {

/// Softens the distributions compared, so that all logits count and not only the largest.
constexpr double kTemperature = 4;
constexpr int64_t kBatch = 8;

using Values = std::vector<Tensor>;

/// Softened log-softmax of one row.
std::vector<double> log_softmax(std::span<const float> row, bool distribution) {
  std::vector<double> z;
  for (float x : row) {
    const double value = static_cast<double>(x);
    z.push_back((distribution ? std::log(std::max(value, 1e-12)) : value) / kTemperature);
  }
  const double top = *std::ranges::max_element(z);
  double sum = 0;
  for (double x : z) sum += std::exp(x - top);
  for (double& x : z) x -= top + std::log(sum);
  return z;
}

bool is_distribution(std::span<const float> row) {
  double sum = 0;
  for (float x : row) {
    if (x < 0) return false;
    sum += static_cast<double>(x);
  }
  return std::abs(sum - 1) < 1e-3;
}

double kl_of_rows(const Tensor& reference, const Tensor& output) {
  const auto classes = static_cast<size_t>(reference.shape()[1]);
  const std::span<const float> a = reference.data<float>(), b = output.data<float>();
  const bool distribution = is_distribution(a.subspan(0, classes));
  double sum = 0;
  for (size_t first = 0; first < a.size(); first += classes) {
    const std::vector<double> p = log_softmax(a.subspan(first, classes), distribution);
    const std::vector<double> q = log_softmax(b.subspan(first, classes), distribution);
    for (size_t i = 0; i < classes; ++i) sum += std::exp(p[i]) * (p[i] - q[i]);
  }
  return kTemperature * kTemperature * sum;
}

double relative_energy(const Tensor& reference, const Tensor& output) {
  const Tensor a = cast(reference, DType::kF32), b = cast(output, DType::kF32);
  double error = 0, energy = 0;
  for (size_t i = 0; i < a.data<float>().size(); ++i) {
    const double x = static_cast<double>(a.data<float>()[i]);
    const double d = x - static_cast<double>(b.data<float>()[i]);
    error += d * d;
    energy += x * x;
  }
  return energy > 0 ? error / energy : 0;
}

bool is_classifier(const Values& outputs) {
  return outputs.size() == 1 && outputs[0].dtype() == DType::kF32 &&
         outputs[0].shape().size() == 2 && outputs[0].shape()[1] >= 2;
}

/// What a Softmax over classes was computed from: the loss is the same, and logits have room for
/// errors where a distribution saturates.
ValueId logits_of(const Graph& graph, ValueId output) {
  ValueId value = output;
  std::optional<NodeId> producer = graph.value(value).producer;
  while (producer && graph.node(*producer).op == "Identity") {
    value = graph.node(*producer).inputs[0];
    producer = graph.value(value).producer;
  }
  if (!producer) return output;
  const Node& node = graph.node(*producer);
  const bool over_classes = graph.shape(output).size() == 2 && node.domain.empty() &&
                            (node.op == "Softmax" || node.op == "LogSoftmax");
  const auto axis = node.attribute<int64_t>("axis", 1);
  return over_classes && (axis == 1 || axis == -1) ? node.inputs[0] : output;
}

/// What an output that is no float was computed from, one node after the other from one value each,
/// back to a weighted node or to where several values meet: what ArgMax chose from, before it was
/// scaled up.
ValueId evidence_of(const Graph& graph, ValueId output) {
  const auto is_number = [&](ValueId id) {
    return graph.type(id).known() && is_float(graph.type(id).dtype);
  };
  if (is_number(output)) return logits_of(graph, output);
  ValueId value = output;
  while (const std::optional<NodeId> producer = graph.value(value).producer) {
    if (is_number(value) && weighted_node(graph, *producer)) break;
    const std::vector<ValueId> operands = computed_operands(graph, {*producer});
    if (operands.size() != 1) break;
    value = operands[0];
  }
  return is_number(value) ? value : output;
}

/// e_c - p of each row, c drawn from p: their second moments are diag p - p p^T.
Tensor probe_of_rows(const Tensor& reference, Random& random) {
  const auto classes = static_cast<size_t>(reference.shape()[1]);
  const std::span<const float> a = reference.data<float>();
  Tensor result = Tensor::uninitialized(DType::kF32, reference.shape());
  const std::span<float> v = result.mutable_data<float>();
  const bool distribution = is_distribution(a.subspan(0, classes));
  for (size_t first = 0; first < a.size(); first += classes) {
    const std::vector<double> p = log_softmax(a.subspan(first, classes), distribution);
    double left = random.uniform();
    size_t drawn = classes - 1;
    for (size_t i = 0; i < classes; ++i) {
      v[first + i] = static_cast<float>(-std::exp(p[i]));
      left -= std::exp(p[i]);
      if (left < 0 && drawn == classes - 1) drawn = i;
    }
    v[first + drawn] += 1;
    for (size_t i = 0; distribution && i < classes; ++i)
      v[first + i] /= std::max(a[first + i], 1e-12f);
  }
  return result;
}

/// Signs, as large as the energy of a sample makes them count.
Tensor probe_of_energy(const Tensor& reference, Random& random) {
  const Tensor a = cast(reference, DType::kF32);
  double energy = 0;
  for (float x : a.data<float>()) energy += static_cast<double>(x) * static_cast<double>(x);
  const auto samples = static_cast<double>(a.shape().empty() ? 1 : a.shape()[0]);
  const auto size = static_cast<float>(energy > 0 ? std::sqrt(2 * samples / energy) : 0);
  Tensor result = Tensor::uninitialized(DType::kF32, a.shape());
  for (float& x : result.mutable_data<float>()) x = size * random.sign();
  return result;
}

}  // namespace

Graph judged(const Graph& graph) {
  std::vector<ValueId> outputs;
  for (ValueId output : graph.outputs()) {
    const ValueId evidence = evidence_of(graph, output);
    if (std::ranges::find(outputs, evidence) == outputs.end()) outputs.push_back(evidence);
  }
  Graph result = graph;
  if (outputs == graph.outputs()) return result;
  result.set_outputs(std::move(outputs));
  remove_unused_nodes(result);
  return result;
}

double loss_of(const Values& reference, const Values& outputs) {
  if (is_classifier(reference)) return kl_of_rows(reference[0], outputs[0]);
  double sum = 0;
  for (size_t i = 0; i < reference.size(); ++i) {
    if (!is_float(reference[i].dtype()) || reference[i].shape() != outputs[i].shape()) continue;
    const Shape& shape = reference[i].shape();
    sum += relative_energy(reference[i], outputs[i]) *
           static_cast<double>(shape.empty() ? 1 : shape[0]);
  }
  return sum;
}

std::vector<Tensor> curvature_probe(const Values& reference, uint64_t seed) {
  Random random(seed);
  Values result;
  for (const Tensor& output : reference)
    result.push_back(is_classifier(reference) ? probe_of_rows(output, random)
                                              : probe_of_energy(output, random));
  return result;
}

double output_loss(const Graph& reference, const Graph& graph, const std::vector<int64_t>& samples,
                   const PassContext& context) {
  const RunOptions options{.threads = context.threads,
                           .batch = kBatch,
                           .progress = context.progress,
                           .stage = "comparing outputs"};
  std::vector<double> losses(
      static_cast<size_t>(batch_count(graph, static_cast<int64_t>(samples.size()), options)));
  const Engine before(judged(reference)), after(judged(graph));
  for_each_batch(graph, *context.data, samples, options, [&](const Batch& batch) {
    losses[static_cast<size_t>(batch.index)] =
        loss_of(before.run(batch.inputs), after.run(batch.inputs));
  });
  double sum = 0;
  for (double x : losses) sum += x;
  return sum / static_cast<double>(std::max<size_t>(1, samples.size()));
}

}  // namespace pare
