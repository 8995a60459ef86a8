#include "passes/refit_producer.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "exec/engine.h"
#include "ir/slice.h"
#include "passes/adjoint.h"
#include "passes/graph_edit.h"
#include "support/parallel.h"

namespace pare {
namespace {

/// One batch in so many chooses the length of a step.
constexpr int64_t kHeldOut = 8;
/// Damping of E[b b^T], in means of its diagonal.
constexpr double kDamping = 0.1;
constexpr double kLongest = 1, kShortest = 1.0 / 64;

bool is_elementwise(const Node& node) {
  return node.domain.empty() && (node.op == "Relu" || node.op == "Clip" || node.op == "Add");
}

/// The only computed operand, when there is just one.
ValueId sole_operand(const Graph& graph, const Node& node) {
  ValueId operand = kNoValue;
  for (ValueId input : node.inputs) {
    if (input == kNoValue || graph.constant(input)) continue;
    if (operand != kNoValue) return kNoValue;
    operand = input;
  }
  return operand;
}

class ProducerRefit {
 public:
  ProducerRefit(Graph& changed, const Lockstep& lockstep, const ProducerPath& path,
                const LayerFit& fit, const ReconstructOptions& options, PatchView view,
                const Graph& piece, const Graph& back)
      : changed_(changed),
        lockstep_(lockstep),
        path_(path),
        fit_(fit),
        options_(options),
        view_(view),
        forward_(piece),
        back_(back) {
    for (int64_t b = 0; b < lockstep.batches(); ++b)
      (b % kHeldOut == kHeldOut - 1 ? held_out_ : used_).push_back(b);
    weights_ = view_.matrices(changed);
  }

  double run() {
    if (held_out_.empty() || used_.empty()) return 0;
    const double before = error(weights_);
    double now = before;
    prepare();
    for (int64_t i = 0; i < options_.producer_steps; ++i) {
      const double reached = step(now);
      if (!(reached < now)) break;
      now = reached;
    }
    if (!(now < before)) return 0;
    store();
    return 1 - now / before;
  }

 private:
  Tensor input(int64_t batch) const {
    return lockstep_.changed(view_.weighted().input.value, batch);
  }
  /// The producer with weights `m`.
  Graph producer(const std::vector<Matrix>& m) const {
    Graph node = slice(changed_, {path_.producer});
    const NodeId id = node.order()[0];
    set_constant_operand(node, id, 1, view_.weight_of(changed_, m));
    if (has_bias()) set_constant_operand(node, id, 2, view_.bias_of(changed_, m));
    return node;
  }
  bool has_bias() const { return changed_.node(path_.producer).op != "MatMul"; }

  /// Squared error of the consumer on the batches held out.
  double error(const std::vector<Matrix>& m) const {
    const Engine engine(producer(m));
    std::vector<double> sums(held_out_.size());
    parallel_for(static_cast<int64_t>(sums.size()), lockstep_.threads(), [&](int64_t i) {
      const int64_t batch = held_out_[static_cast<size_t>(i)];
      const Tensor missing = fit_.shortfall(batch, forward_.run(engine.run({input(batch)}))[0]);
      for (float x : missing.data<float>())
        sums[static_cast<size_t>(i)] += static_cast<double>(x) * static_cast<double>(x);
    });
    return std::accumulate(sums.begin(), sums.end(), 0.0);
  }

  Positions positions(const Tensor& z, int64_t batch) const {
    return view_.positions(z.shape(), lockstep_.samples(batch), lockstep_.first_sample(batch),
                           options_.positions);
  }

  /// E[u u^T] and E[b b^T].
  void prepare() {
    const Engine engine(producer(weights_));
    const auto chunks = static_cast<int64_t>(used_.size());
    const auto patches = [&](int64_t i, SampleRows& rows) {
      const int64_t batch = used_[static_cast<size_t>(i)];
      const Tensor z = engine.run({input(batch)})[0];
      const Positions at = positions(z, batch);
      rows = {.rows = at.size()};
      view_.read_patches(input(batch), at, rows.patches);
      const Tensor y = forward_.run({z})[0];
      view_.read_outputs(back_.run({z, signs(y.shape(), batch)})[0], at, rows.targets);
    };
    const Gram inputs = gather_gram({.groups = view_.groups(),
                                     .inputs = view_.inputs(),
                                     .outputs = view_.outputs(),
                                     .chunks = chunks},
                                    lockstep_.threads(), patches);
    const auto results = [&](int64_t i, SampleRows& rows) {
      patches(i, rows);
      std::swap(rows.patches, rows.targets);
      rows.targets.assign(static_cast<size_t>(rows.rows * view_.groups()), 0.0f);
    };
    const Gram outputs = gather_gram({.groups = view_.groups(),
                                      .inputs = view_.outputs(),
                                      .outputs = 1,
                                      .chunks = std::min<int64_t>(chunks, 8)},
                                     lockstep_.threads(), results);
    for (size_t g = 0; g < inputs.h.size(); ++g) {
      std::vector<int64_t> kept(static_cast<size_t>(view_.inputs() + has_bias()));
      std::iota(kept.begin(), kept.end(), int64_t{0});
      inputs_.emplace_back(inputs.h[g], options_.ridge, kept);
      std::vector<int64_t> channels(static_cast<size_t>(view_.outputs()));
      std::iota(channels.begin(), channels.end(), int64_t{0});
      results_.emplace_back(outputs.h[g], kDamping, channels);
    }
  }

  /// Random signs, the same every time.
  static Tensor signs(const Shape& shape, int64_t batch) {
    Tensor result = Tensor::uninitialized(DType::kF32, shape);
    uint64_t state = 0x9e3779b97f4a7c15ull * static_cast<uint64_t>(batch + 1);
    for (float& x : result.mutable_data<float>()) {  // Marsaglia's xorshift.
      state ^= state << 13;
      state ^= state >> 7;
      state ^= state << 17;
      x = (state & (1u << 20)) != 0 ? 1.0f : -1.0f;
    }
    return result;
  }

  /// One step from weights_; the error behind it.
  double step(double before) {
    const Engine engine(producer(weights_));
    const Gram gradient =
        gather_targets({.groups = view_.groups(),
                        .inputs = view_.inputs(),
                        .outputs = view_.outputs(),
                        .chunks = static_cast<int64_t>(used_.size())},
                       lockstep_.threads(), [&](int64_t i, SampleRows& rows) {
                         const int64_t batch = used_[static_cast<size_t>(i)];
                         const Tensor z = engine.run({input(batch)})[0];
                         const Positions at = positions(z, batch);
                         rows = {.rows = at.size()};
                         view_.read_patches(input(batch), at, rows.patches);
                         const Tensor missing = fit_.shortfall(batch, forward_.run({z})[0]);
                         view_.read_outputs(back_.run({z, missing})[0], at, rows.targets);
                       });
    std::vector<Matrix> direction;
    for (size_t g = 0; g < weights_.size(); ++g)
      direction.push_back(precondition(g, gradient.g[g]));
    double best = before;
    std::vector<Matrix> chosen = weights_;
    for (double length = kLongest; length >= kShortest; length /= 2) {
      std::vector<Matrix> candidate = weights_;
      for (size_t g = 0; g < candidate.size(); ++g) {
        for (size_t i = 0; i < candidate[g].data.size(); ++i)
          candidate[g].data[i] += length * direction[g].data[i];
      }
      const double reached = error(candidate);
      if (reached < best) {
        best = reached;
        chosen = std::move(candidate);
      } else if (best < before) {
        break;  // Shorter ones are worse again.
      }
    }
    weights_ = std::move(chosen);
    return best;
  }

  Matrix precondition(size_t group, const Matrix& g) const {
    const Matrix left = inputs_[group].solve(g, Matrix(g.rows, g.cols));
    Matrix turned(g.cols + 1, g.rows);
    for (int64_t i = 0; i < g.rows; ++i) {
      for (int64_t j = 0; j < g.cols; ++j) turned.row(j)[i] = left.row(i)[j];
    }
    const Matrix right = results_[group].solve(turned, Matrix(turned.rows, turned.cols));
    Matrix result(g.rows, g.cols);
    for (int64_t i = 0; i < g.rows; ++i) {
      for (int64_t j = 0; j < g.cols; ++j) result.row(i)[j] = right.row(j)[i];
    }
    return result;
  }

  void store() {
    set_constant_operand(changed_, path_.producer, 1, view_.weight_of(changed_, weights_));
    if (has_bias())
      set_constant_operand(changed_, path_.producer, 2, view_.bias_of(changed_, weights_));
  }

  Graph& changed_;
  const Lockstep& lockstep_;
  const ProducerPath& path_;
  const LayerFit& fit_;
  const ReconstructOptions& options_;
  PatchView view_;
  Engine forward_, back_;
  std::vector<int64_t> used_, held_out_;  ///< Batches.
  std::vector<Matrix> weights_;           ///< Of the producer, by group.
  std::vector<RidgeSolver> inputs_, results_;
};

}  // namespace

std::vector<ProducerPath> sole_producers(const Graph& graph, NodeId consumer) {
  std::vector<ProducerPath> paths;
  const std::optional<WeightedNode> weighted = weighted_node(graph, consumer);
  if (!weighted) return paths;
  ValueId value = weighted->input.value;
  std::vector<NodeId> between;
  while (graph.sole_user(value) && graph.value(value).producer) {
    const NodeId id = *graph.value(value).producer;
    const Node& node = graph.node(id);
    const ValueId operand = sole_operand(graph, node);
    if (operand == kNoValue) break;
    const std::optional<WeightedNode> producer = weighted_node(graph, id);
    if (producer) {
      const bool shared = graph.value(producer->weight_input.value).uses.size() != 1;
      if (shared || !PatchView::of(graph, id)) break;
      paths.push_back({.producer = id, .between = between});
      const Shape& input = graph.shape(producer->input.value);
      if (producer->groups != input[static_cast<size_t>(producer->input.axis)]) break;
    } else if (!is_elementwise(node)) {
      break;
    }
    between.insert(between.begin(), id);
    value = operand;
  }
  return paths;
}

double refit_producer(Graph& changed, const Lockstep& lockstep, const ProducerPath& path,
                      const LayerFit& fit, const ReconstructOptions& options) {
  const std::optional<PatchView> view = PatchView::of(changed, path.producer);
  std::vector<NodeId> nodes = path.between;
  nodes.push_back(fit.view().weighted().node);
  const Graph piece = slice(changed, nodes);
  const std::optional<Graph> back = adjoint(piece);
  if (!view || !back) return 0;
  return ProducerRefit(changed, lockstep, path, fit, options, *view, piece, *back).run();
}

}  // namespace pare
