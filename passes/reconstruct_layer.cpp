#include "passes/reconstruct_layer.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "passes/held_out.h"
#include "passes/lockstep_settings.h"
#include "support/parallel.h"

namespace pare {
namespace {

/// Rows a chunk should have: enough to keep gemm busy, few enough that chunks share out well.
constexpr int64_t kChunkRows = 2048;
/// What the ridge is multiplied by, and how often at the most.
constexpr double kRidgeStep = 4;
constexpr int kRidgeSteps = 5;

/// The constant, where it is one number per channel of a result whose channels are the last axis.
bool is_channel_bias(const Graph& graph, ValueId id, int64_t channels) {
  const Tensor* constant = graph.constant(id);
  return constant && is_float(constant->dtype()) && constant->size() == channels &&
         !constant->shape().empty() && constant->shape().back() == channels;
}

ValueId other_operand(const Node& add, ValueId value) {
  return add.inputs[0] == value ? add.inputs[1] : add.inputs[0];
}

/// A finite bound given by a constant scalar operand or an attribute of Clip.
void read_bounds(const Graph& graph, const Node& node, ResultPath& path) {
  if (node.op == "Relu") path.low = 0;
  if (node.op != "Clip") return;
  const auto bound = [&](size_t slot, const char* key, double none) {
    if (node.has_attribute(key)) return static_cast<double>(node.attribute(key, 0.0f));
    if (!node.has_input(slot)) return none;
    const Tensor* constant = graph.constant(node.inputs[slot]);
    if (!constant || constant->size() != 1) return none;
    return cast(*constant, DType::kF64).data<double>()[0];
  };
  path.low = bound(1, "min", path.low);
  path.high = bound(2, "max", path.high);
}

}  // namespace

bool is_held_out(const Lockstep& lockstep, int64_t batch) {
  const int64_t last = lockstep.batches() - 1;
  return is_held_out(lockstep.first_sample(batch),
                     lockstep.first_sample(last) + lockstep.samples(last));
}

ResultPath follow_result(const Graph& graph, const WeightedNode& weighted,
                         const std::vector<size_t>& position) {
  ResultPath path;
  ValueId value = weighted.output.value;
  const auto next = [&]() -> const Node* {
    const std::optional<NodeId> user = graph.sole_user(value);
    return user && graph.node(*user).def ? &graph.node(*user) : nullptr;
  };
  const Node* user = next();
  const int64_t channels =
      graph.type(weighted.output.value).shape[static_cast<size_t>(weighted.output.axis)];
  if (user && user->op == "Add" && graph.node(weighted.node).op == "MatMul" &&
      is_channel_bias(graph, other_operand(*user, value), channels)) {
    path.addend = other_operand(*user, value);
    value = user->outputs[0];
    user = next();
  }
  if (user && user->op == "Add") {
    const ValueId stream = other_operand(*user, value);
    const std::optional<NodeId> producer = graph.value(stream).producer;
    const bool before = producer ? position[index(*producer)] < position[index(weighted.node)]
                                 : !graph.constant(stream);
    if (!before || graph.type(stream) != graph.type(value)) return path;
    path.stream = stream;
    value = user->outputs[0];
    user = next();
  }
  if (user) read_bounds(graph, *user, path);
  return path;
}

LayerFit::LayerFit(const Graph& original, const Graph& changed, const Lockstep& lockstep,
                   PatchView view, const ResultPath& path, const SurvivingIndices& surviving,
                   const ReconstructOptions& options)
    : original_(original),
      changed_(changed),
      lockstep_(lockstep),
      view_(view),
      path_(path),
      options_(options),
      kept_(surviving(view_.weighted().output)),
      start_(view_.matrices(changed)) {
  if (const Tensor* addend = changed.constant(path_.addend)) {
    const Tensor bias = cast(*addend, DType::kF32);
    for (int64_t o = 0; o < view_.outputs(); ++o)
      start_[0].row(view_.inputs())[o] =
          static_cast<double>(bias.data<float>()[static_cast<size_t>(o)]);
  }
  for (int64_t batch = 0; batch < lockstep.batches(); ++batch) {
    all_.push_back(batch);
    (is_held_out(lockstep, batch) ? held_out_ : fitted_).push_back(batch);
  }
  positions_ = options.positions;
  count_rows();
  if (view_.inputs() > kWidestNormalEquations && rows_ >= view_.inputs()) {
    positions_ = std::max<int64_t>(1, positions_ * kWidestNormalEquations / (2 * rows_));
    count_rows();
  }
}

void LayerFit::count_rows() {
  rows_ = 0;
  for (int64_t b = 0; b < lockstep_.batches(); ++b)
    rows_ += view_
                 .positions(lockstep_.original(view_.weighted().output.value, b).shape(),
                            lockstep_.samples(b), lockstep_.first_sample(b), positions_)
                 .size();
  const int64_t per_batch = std::max<int64_t>(1, rows_ / lockstep_.batches());
  chunk_ = std::max<int64_t>(1, kChunkRows / per_batch);
}

bool LayerFit::has_bias() const {
  return path_.addend != kNoValue || changed_.node(view_.weighted().node).op != "MatMul";
}

GramShape LayerFit::shape(const Batches& batches) const {
  return {.groups = view_.groups(),
          .inputs = view_.inputs(),
          .outputs = view_.outputs(),
          .chunks = (static_cast<int64_t>(batches.size()) + chunk_ - 1) / chunk_};
}

void LayerFit::append_batch(int64_t batch, SampleRows& rows, std::vector<float>* stream) const {
  const WeightedNode& node = view_.weighted();
  const Tensor y = lockstep_.original(node.output.value, batch);
  const Positions positions = view_.positions(y.shape(), lockstep_.samples(batch),
                                              lockstep_.first_sample(batch), positions_);
  std::vector<float> patches, results, before, after;
  view_.read_patches(lockstep_.changed(node.input.value, batch), positions, patches);
  view_.read_outputs(y, positions, results);
  if (path_.stream != kNoValue) {
    view_.read_outputs(lockstep_.original(path_.stream, batch), positions, before);
    view_.read_outputs(lockstep_.changed(path_.stream, batch), positions, after);
    if (stream) stream->insert(stream->end(), after.begin(), after.end());
  }
  Tensor addend;
  if (const Tensor* constant = original_.constant(path_.addend))
    addend = cast(*constant, DType::kF32);
  const size_t channels =
      results.size() / static_cast<size_t>(std::max<int64_t>(1, positions.size()));
  for (int64_t r = 0; r < positions.size(); ++r) {
    for (size_t k = 0; k < kept_.size(); ++k) {
      const auto channel = static_cast<size_t>(kept_[k]);
      const size_t from = static_cast<size_t>(r) * channels + channel;
      float target = results[from];
      if (addend.defined()) target += addend.data<float>()[channel];
      if (!before.empty())
        target += before[from] - after[static_cast<size_t>(r) * kept_.size() + k];
      rows.targets.push_back(target);
    }
  }
  rows.rows += positions.size();
  rows.patches.insert(rows.patches.end(), patches.begin(), patches.end());
}

void LayerFit::read_chunk(const Batches& batches, int64_t chunk, SampleRows& rows,
                          std::vector<float>* stream) const {
  rows = {};
  const int64_t end = std::min(static_cast<int64_t>(batches.size()), (chunk + 1) * chunk_);
  for (int64_t i = chunk * chunk_; i < end; ++i)
    append_batch(batches[static_cast<size_t>(i)], rows, stream);
}

double LayerFit::free_clipped(const std::vector<Matrix>& m, std::span<const float> stream,
                              SampleRows& rows) const {
  const std::vector<float> predicted = predict(rows, m);
  const auto low = static_cast<float>(path_.low), high = static_cast<float>(path_.high);
  double error = 0;
  for (size_t i = 0; i < rows.targets.size(); ++i) {
    const float offset = stream.empty() ? 0.0f : stream[i];
    const float wanted = rows.targets[i] + offset, reached = predicted[i] + offset;
    if (wanted <= low) rows.targets[i] = std::min(reached, low) - offset;
    if (wanted >= high) rows.targets[i] = std::max(reached, high) - offset;
    const auto missing = static_cast<double>(rows.targets[i] - predicted[i]);
    error += missing * missing;
  }
  return error;
}

void LayerFit::read_freed(const Batches& batches, int64_t chunk, const std::vector<Matrix>& m,
                          SampleRows& rows) const {
  std::vector<float> stream;
  read_chunk(batches, chunk, rows, &stream);
  free_clipped(m, stream, rows);
}

double LayerFit::error_held_out(const std::vector<Matrix>& m) const {
  std::vector<double> errors(static_cast<size_t>(shape(held_out_).chunks));
  parallel_for(static_cast<int64_t>(errors.size()), lockstep_.threads(), [&](int64_t chunk) {
    SampleRows rows;
    std::vector<float> stream;
    read_chunk(held_out_, chunk, rows, &stream);
    errors[static_cast<size_t>(chunk)] = free_clipped(m, stream, rows);
  });
  return std::accumulate(errors.begin(), errors.end(), 0.0);
}

std::pair<double, std::vector<Matrix>> LayerFit::best_ridge(
    const std::function<std::vector<Matrix>(double ridge)>& solve) const {
  double ridge = options_.ridge;
  std::vector<Matrix> best = solve(ridge);
  if (held_out_.empty()) return {ridge, std::move(best)};
  double error = error_held_out(best);
  for (int i = 0; i < kRidgeSteps; ++i) {
    std::vector<Matrix> next = solve(ridge * kRidgeStep);
    const double reached = error_held_out(next);
    if (!(reached < error)) break;
    error = reached;
    best = std::move(next);
    ridge *= kRidgeStep;
  }
  return {ridge, std::move(best)};
}

Tensor LayerFit::shortfall(int64_t batch, const Tensor& y) const {
  const Dim output = view_.weighted().output;
  const auto surviving = [&](const Tensor& tensor) {
    return static_cast<int64_t>(kept_.size()) == tensor.shape()[static_cast<size_t>(output.axis)]
               ? tensor
               : gather(tensor, output.axis, kept_);
  };
  const Tensor wanted = surviving(lockstep_.original(output.value, batch));
  Tensor before, after;
  if (path_.stream != kNoValue) {
    before = surviving(lockstep_.original(path_.stream, batch));
    after = lockstep_.changed(path_.stream, batch);
  }
  // Constants by channel, added to either network's result.
  std::vector<float> old_bias(kept_.size()), new_bias(kept_.size());
  if (path_.addend != kNoValue) {
    const Tensor a = cast(*original_.constant(path_.addend), DType::kF32);
    const Tensor b = cast(*changed_.constant(path_.addend), DType::kF32);
    for (size_t k = 0; k < kept_.size(); ++k) {
      old_bias[k] = a.data<float>()[static_cast<size_t>(kept_[k])];
      new_bias[k] = b.data<float>()[k];
    }
  }
  Tensor missing = Tensor::uninitialized(DType::kF32, y.shape());
  const std::span<float> result = missing.mutable_data<float>();
  size_t inner = 1;
  for (size_t axis = static_cast<size_t>(output.axis) + 1; axis < y.shape().size(); ++axis)
    inner *= static_cast<size_t>(y.shape()[axis]);
  const auto low = static_cast<float>(path_.low), high = static_cast<float>(path_.high);
  const auto at = [](const Tensor& tensor, size_t first) {
    return tensor.defined() ? tensor.data<float>().data() + first : nullptr;
  };
  for (size_t first = 0; first < result.size(); first += inner) {
    const size_t k = first / inner % kept_.size();
    const float *w = at(wanted, first), *r = at(y, first), *b = at(before, first),
                *a = at(after, first);
    for (size_t i = 0; i < inner; ++i) {
      const float target = w[i] + old_bias[k] + (b ? b[i] : 0.0f);
      const float reached = r[i] + new_bias[k] + (a ? a[i] : 0.0f);
      float aim = target;
      if (target <= low) aim = std::min(reached, low);
      if (target >= high) aim = std::max(reached, high);
      result[first + i] = aim - reached;
    }
  }
  return missing;
}

std::vector<Matrix> LayerFit::metric() const {
  std::vector<Matrix> result;
  if (!options_.metrics) return result;
  const auto found = options_.metrics->find(view_.weighted().node);
  if (found == options_.metrics->end()) return result;
  for (int64_t g = 0; g < view_.groups(); ++g) {
    const auto first = static_cast<size_t>(g * view_.outputs());
    result.push_back(
        found->second.of(std::span(kept_).subspan(first, static_cast<size_t>(view_.outputs()))));
  }
  return result;
}

std::vector<Matrix> LayerFit::solve(InputChooser* chooser) const {
  const bool few = view_.groups() == 1 && rows_ < view_.inputs();
  return few && !chooser ? solve_with_few_rows() : solve_primal(chooser);
}

Gram LayerFit::moments(const Batches& batches) const {
  return gather_gram(shape(batches), lockstep_.threads(),
                     [&](int64_t i, SampleRows& rows) { read_chunk(batches, i, rows, nullptr); });
}

std::vector<Matrix> LayerFit::solve_primal(InputChooser* chooser) const {
  const Gram gram = fitted_moments();
  std::vector<int64_t> all(static_cast<size_t>(view_.inputs()));
  std::iota(all.begin(), all.end(), int64_t{0});
  std::vector<std::vector<int64_t>> kept(start_.size(), all);
  if (chooser)
    kept = chooser->choose({.node = view_.weighted().node,
                            .view = view_,
                            .gram = gram,
                            .start = start_,
                            .metric = metric(),
                            .has_bias = has_bias()});
  for (std::vector<int64_t>& rows : kept) {
    if (has_bias()) rows.push_back(view_.inputs());
  }
  const auto solvers = [&](double ridge) {
    std::vector<RidgeSolver> result;
    for (size_t g = 0; g < start_.size(); ++g) result.emplace_back(gram.h[g], ridge, kept[g]);
    return result;
  };
  auto [ridge, m] = best_ridge([&](double r) {
    std::vector<Matrix> solved;
    const std::vector<RidgeSolver> with = solvers(r);
    for (size_t g = 0; g < with.size(); ++g) solved.push_back(with[g].solve(gram.g[g], start_[g]));
    return solved;
  });
  if (!path_.clipped()) return m;
  const Gram freed =
      gather_targets(shape(fitted_), lockstep_.threads(),
                     [&, &m = m](int64_t i, SampleRows& rows) { read_freed(fitted_, i, m, rows); });
  const std::vector<RidgeSolver> with = solvers(ridge);
  for (size_t g = 0; g < m.size(); ++g) m[g] = with[g].solve(freed.g[g], m[g]);
  return m;
}

std::vector<Matrix> LayerFit::solve_with_few_rows() const {
  std::vector<SampleRows> chunks(static_cast<size_t>(shape(fitted_).chunks));
  for (size_t i = 0; i < chunks.size(); ++i)
    read_chunk(fitted_, static_cast<int64_t>(i), chunks[i], nullptr);
  auto [ridge, m] = best_ridge(
      [&](double r) { return std::vector<Matrix>{solve_dual(chunks, start_[0], r, has_bias())}; });
  if (!path_.clipped()) return m;
  for (size_t i = 0; i < chunks.size(); ++i)
    read_freed(fitted_, static_cast<int64_t>(i), m, chunks[i]);
  m[0] = solve_dual(chunks, m[0], ridge, has_bias());
  return m;
}

}  // namespace pare
