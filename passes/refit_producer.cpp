#include "passes/refit_producer.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "exec/engine.h"
#include "ir/slice.h"
#include "passes/adjoint.h"
#include "passes/graph_edit.h"
#include "passes/held_out.h"
#include "support/parallel.h"
#include "support/random.h"

namespace pare {
namespace {

/// More places of a result than these tell little more; fewer images than those might mislead.
constexpr int64_t kPlaces = int64_t{1} << 17, kFewestImages = 128;
/// Damping of E[b b^T], in means of its diagonal.
constexpr double kDamping = 0.1;
/// Nodes looked at between producers and a consumer.
constexpr size_t kLargestRegion = 64;
constexpr double kLongest = 1, kShortest = 1.0 / 64;

/// What lies behind the producer, the consumer included, as graphs.
struct Piece {
  std::vector<ValueId> operands;  ///< The inputs of both graphs.
  Graph forward, back;            ///< `back` takes the consumer's error too.
};

class ProducerRefit {
 public:
  ProducerRefit(Graph& changed, const Lockstep& lockstep, const ProducerPath& path,
                const LayerFit& fit, const ReconstructOptions& options, PatchView view, Piece piece)
      : changed_(changed),
        lockstep_(lockstep),
        path_(path),
        fit_(fit),
        options_(options),
        view_(view),
        operands_(std::move(piece.operands)),
        forward_(std::move(piece.forward)),
        back_(std::move(piece.back)) {
    for (int64_t batch = 0; batch < lockstep.batches(); ++batch)
      (is_held_out(lockstep, batch) ? held_out_ : used_).push_back(batch);
    const int64_t wanted = wanted_batches(), all = lockstep.batches();
    for (std::vector<int64_t>* batches : {&held_out_, &used_})  // The same share of either.
      *batches = spread(*batches, (std::ssize(*batches) * wanted + all - 1) / all);
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
  /// As many as it takes for kPlaces places of the producer's result, but all of few images.
  int64_t wanted_batches() const {
    const Dim result = view_.weighted().output;
    const Shape& shape = changed_.shape(result.value);
    const int64_t places =
        element_count(shape) / (shape[0] * shape[static_cast<size_t>(result.axis)]);
    const int64_t images = std::max(kFewestImages, kPlaces / std::max<int64_t>(1, places));
    return std::min(lockstep_.batches(), images / std::max<int64_t>(1, lockstep_.samples(0)));
  }
  Tensor input(int64_t batch) const {
    return lockstep_.changed(view_.weighted().input.value, batch);
  }
  /// What the piece reads on a batch when the producer gives `z`.
  std::vector<Tensor> operands(const Tensor& z, int64_t batch) const {
    std::vector<Tensor> inputs;
    for (ValueId id : operands_)
      inputs.push_back(id == view_.weighted().output.value ? z : lockstep_.changed(id, batch));
    return inputs;
  }
  Tensor result(const Tensor& z, int64_t batch) const {
    return forward_.run(operands(z, batch))[0];
  }
  /// The consumer's error `e`, taken back to the producer's result.
  Tensor taken_back(const Tensor& z, const Tensor& e, int64_t batch) const {
    std::vector<Tensor> inputs = operands(z, batch);
    inputs.push_back(e);
    return back_.run(inputs)[0];
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
      const Tensor z = engine.run({input(batch)})[0];
      const Tensor missing = fit_.shortfall(batch, result(z, batch));
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
      const Tensor probe = signs(result(z, batch).shape(), batch);
      view_.read_outputs(taken_back(z, probe, batch), at, rows.targets);
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
    Random random(static_cast<uint64_t>(batch));
    for (float& x : result.mutable_data<float>()) x = random.sign();
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
                         const Tensor missing = fit_.shortfall(batch, result(z, batch));
                         view_.read_outputs(taken_back(z, missing, batch), at, rows.targets);
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
  std::vector<ValueId> operands_;
  Engine forward_, back_;
  std::vector<int64_t> used_, held_out_;  ///< Batches.
  std::vector<Matrix> weights_;           ///< Of the producer, by group.
  std::vector<RidgeSolver> inputs_, results_;
};

/// The node works on one vector an image, or on each channel alone.
bool is_light(const Graph& graph, const WeightedNode& node) {
  const Shape &in = graph.shape(node.input.value), &out = graph.shape(node.output.value);
  return is_depthwise(graph, node) ||
         (element_count(in) == in[0] * in[static_cast<size_t>(node.input.axis)] &&
          element_count(out) == out[0] * out[static_cast<size_t>(node.output.axis)]);
}

/// Nodes back from a consumer's input, and the producers among or right before them.
struct Region {
  std::set<size_t> nodes;  ///< Positions in the order.
  std::vector<NodeId> producers;
};

Region region_before(const Graph& graph, const WeightedNode& consumer,
                     const std::vector<size_t>& position) {
  Region region;
  std::set<size_t> waiting;  // Positions of producers of values to look at; the last goes first.
  const auto look_at = [&](ValueId value) {
    if (value != kNoValue && graph.value(value).producer)
      waiting.insert(position[index(*graph.value(value).producer)]);
  };
  look_at(consumer.input.value);
  while (!waiting.empty() && region.nodes.size() < kLargestRegion) {
    const size_t at = *waiting.rbegin();
    waiting.erase(at);
    const NodeId id = graph.order()[at];
    if (!has_adjoint(graph, graph.node(id))) continue;
    const std::optional<WeightedNode> weighted = weighted_node(graph, id);
    if (weighted) {
      if (graph.value(weighted->weight_input.value).uses.size() == 1 && PatchView::of(graph, id))
        region.producers.push_back(id);
      if (!is_light(graph, *weighted)) continue;
    }
    region.nodes.insert(at);
    std::ranges::for_each(graph.node(id).inputs, look_at);
  }
  return region;
}

/// The part of the region that depends on `producer`; nothing where others see some of it.
std::optional<std::vector<NodeId>> dependents(const Graph& graph, const Region& region,
                                              NodeId producer, NodeId consumer) {
  std::set<NodeId> inside{producer, consumer};
  std::vector<NodeId> between;
  std::set<ValueId> values{graph.node(producer).outputs[0]};
  for (size_t at : region.nodes) {
    const NodeId id = graph.order()[at];
    const Node& node = graph.node(id);
    if (id == producer ||
        std::ranges::none_of(node.inputs, [&](ValueId input) { return values.contains(input); }))
      continue;
    inside.insert(id);
    between.push_back(id);
    values.insert(node.outputs.begin(), node.outputs.end());
  }
  for (ValueId value : values) {
    if (graph.is_output(value) || std::ranges::any_of(graph.value(value).uses, [&](const Use& use) {
          return !inside.contains(use.node);
        }))
      return {};
  }
  return between;
}

}  // namespace

std::vector<ProducerPath> sole_producers(const Graph& graph, NodeId consumer) {
  std::vector<ProducerPath> paths;
  const std::optional<WeightedNode> weighted = weighted_node(graph, consumer);
  if (!weighted || !has_adjoint(graph, graph.node(consumer))) return paths;
  std::vector<size_t> position(graph.node_count());
  for (size_t i = 0; i < graph.order().size(); ++i) position[index(graph.order()[i])] = i;
  const Region region = region_before(graph, *weighted, position);
  for (NodeId producer : region.producers) {
    const std::optional<std::vector<NodeId>> between =
        dependents(graph, region, producer, consumer);
    if (!between) continue;
    ProducerPath path{.producer = producer, .between = *between};
    std::vector<NodeId> nodes = *between;
    nodes.push_back(consumer);
    path.others = computed_operands(graph, nodes);
    std::erase(path.others, graph.node(producer).outputs[0]);
    paths.push_back(std::move(path));
  }
  return paths;
}

int64_t bytes_on_the_way(const Graph& graph, const ProducerPath& path, NodeId consumer) {
  std::vector<NodeId> nodes{path.producer};
  nodes.insert(nodes.end(), path.between.begin(), path.between.end());
  nodes.push_back(consumer);
  int64_t bytes = 0;
  for (ValueId operand : computed_operands(graph, nodes)) bytes += bytes_per_sample(graph, operand);
  for (NodeId id : nodes) {
    for (ValueId output : graph.node(id).outputs) {
      if (output != kNoValue) bytes += bytes_per_sample(graph, output);
    }
  }
  return bytes;
}

double refit_producer(Graph& changed, const Lockstep& lockstep, const ProducerPath& path,
                      const LayerFit& fit, const ReconstructOptions& options) {
  const std::optional<PatchView> view = PatchView::of(changed, path.producer);
  std::vector<NodeId> nodes = path.between;
  nodes.push_back(fit.view().weighted().node);
  Piece piece{.operands = computed_operands(changed, nodes),
              .forward = slice(changed, nodes),
              .back = Graph(changed.ops())};
  const auto z = std::ranges::find(piece.operands, changed.node(path.producer).outputs[0]);
  std::optional<Graph> back =
      adjoint(piece.forward, static_cast<size_t>(z - piece.operands.begin()));
  if (!view || !back) return 0;
  piece.back = std::move(*back);
  return ProducerRefit(changed, lockstep, path, fit, options, *view, std::move(piece)).run();
}

}  // namespace pare
