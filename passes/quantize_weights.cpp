#include "passes/quantize_weights.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "calib/first_moments.h"
#include "calib/rounding.h"
#include "passes/graph_edit.h"
#include "passes/lockstep_settings.h"
#include "passes/power_of_two.h"
#include "passes/quantize_int8_rewrite.h"
#include "passes/reconstruct_layer.h"
#include "support/parallel.h"

namespace pare {
namespace {

/// Above this width second moments take too much memory [columns].
constexpr int64_t kWidest = 6000;

/// Above this width eight bits are rounded to the nearest: compensation takes the cube of it in
/// time, and at that width gains little [columns].
constexpr int64_t kWidestCompensated = 1200;

/// Cov(u) where a bias takes up the mean, else E[u u^T]; without the row of the constant 1.
Matrix input_moments(const Matrix& h, bool centred) {
  const int64_t n = h.rows - 1;
  Matrix result(n, n);
  const double* mean = h.row(n);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j)
      result.row(i)[j] = h.row(i)[j] - (centred ? mean[i] * mean[j] : 0.0);
  }
  return result;
}

/// The first rows of a matrix whose last holds the bias.
Matrix without_bias(const Matrix& m) {
  Matrix result(m.rows - 1, m.cols);
  std::copy_n(m.data.data(), result.data.size(), result.data.data());
  return result;
}

std::vector<double> diagonal(const Matrix& h) {
  std::vector<double> result;
  for (int64_t i = 0; i < h.rows; ++i) result.push_back(h.row(i)[i]);
  return result;
}

/// The scales of one group's outputs; `energy` is the inputs'.
std::vector<double> scales_of(const Matrix& weights, std::vector<double> energy,
                              WeightSteps steps) {
  for (double& e : energy) e = std::max(e, 0.0);
  const double mean = std::accumulate(energy.begin(), energy.end(), 0.0) /
                      static_cast<double>(std::max<size_t>(1, energy.size()));
  // An input that hardly moved on these samples may on others.
  for (double& e : energy) e += mean > 0 ? 0.1 * mean : 1.0;
  return least_squares_scales(weights, energy, steps.lowest, steps.highest);
}

class Sweep {
 public:
  Sweep(Graph& graph, const QuantPlan& plan, const std::map<ValueId, ActivationCode>& codes,
        const WeightFitOptions& options, const PassContext& context)
      : target_(graph),
        plan_(plan),
        options_(options),
        context_(context),
        original_(graph),
        changed_(with_coded_activations(graph, plan, codes)),
        lockstep_(original_, changed_, *context.data,
                  lockstep_settings(original_, changed_, options.moments, context)),
        position_(changed_.node_count()) {
    for (size_t i = 0; i < lockstep_.order().size(); ++i)
      position_[index(lockstep_.order()[i])] = i;
  }

  std::map<NodeId, WeightFit> run() {
    const std::vector<NodeId>& order = lockstep_.order();
    const size_t end = end_of_fits(changed_);
    for (size_t i = 0; i < end; ++i) {
      context_.progress.step("rounding weights", static_cast<int64_t>(i),
                             static_cast<int64_t>(end));
      if (lockstep_.in_original(order[i])) {
        lockstep_.run_original(order[i]);
        with_context([&] { return describe(original_.node(order[i])); }, [&] { fit(order[i]); });
      }
      lockstep_.run_changed(order[i]);
      lockstep_.release(i);
    }
    return std::move(fits_);
  }

 private:
  void fit(NodeId id) {
    if (!plan_.quantized[index(id)]) return;
    const std::optional<PatchView> view = PatchView::of(changed_, id);
    if (!view || view->inputs() > kWidest) return;
    const ValueId weight = view->weighted().weight_input.value;
    if (changed_.value(weight).uses.size() != 1) return;  // They would have to suit all users.
    const std::optional<WeightedNode> before = weighted_node(original_, id);
    const ResultPath path = follow_result(original_, *before, position_);
    const LayerFit layer(
        original_, changed_, lockstep_, *view, path, [&](Dim dim) { return all_of(dim); },
        options_.moments);
    store(id, layer, path, round(layer, weight_steps(plan_.bits(id), options_.reduce_range)));
  }

  std::vector<int64_t> all_of(Dim dim) const {
    std::vector<int64_t> all(
        static_cast<size_t>(original_.shape(dim.value)[static_cast<size_t>(dim.axis)]));
    std::iota(all.begin(), all.end(), int64_t{0});
    return all;
  }

  using Grids = std::vector<RoundingGrid>;  ///< By group.

  struct Rounded {
    Grids grids;
    std::vector<Matrix> weights;  ///< On the grids, by group, bias in the last row.
    WeightFit fit;
  };

  Rounded round(const LayerFit& layer, WeightSteps steps) const {
    std::vector<Rounded> all =
        compensates(layer, steps) ? round_together(layer, steps) : round_each(layer, steps);
    Rounded best = std::move(*std::ranges::min_element(
        all, {}, [](const Rounded& rounded) { return rounded.fit.noise; }));
    best.fit.code.steps = steps;
    for (const RoundingGrid& grid : best.grids) {
      for (const double scale : grid.scales)
        best.fit.code.scales.push_back(static_cast<float>(scale));
    }
    if (!options_.per_channel) best.fit.code.scales.resize(1);
    return best;
  }

  /// Each weight makes up for what others lost to rounding.
  std::vector<Rounded> round_together(const LayerFit& layer, WeightSteps steps) const {
    Gram gram = layer.moments();
    const double signal = total_variance(gram);
    for (size_t g = 0; g < gram.h.size(); ++g) blend(gram, g, layer.start()[g]);
    const std::vector<Matrix> wanted = aims(layer, gram);
    std::vector<Matrix> moments;
    std::vector<std::vector<double>> energies;
    for (const Matrix& h : gram.h) {
      moments.push_back(input_moments(h, layer.has_bias()));
      energies.push_back(diagonal(moments.back()));
    }
    std::vector<Rounded> result;
    for (const Grids& grids : candidates(wanted, energies, steps)) {
      Rounded& rounded = result.emplace_back(Rounded{.grids = grids, .weights = {}, .fit = {}});
      rounded.fit.signal = signal;
      for (size_t g = 0; g < wanted.size(); ++g) {
        rounded.weights.push_back(round_group(layer, gram, g, moments[g], wanted[g], grids[g]));
        const double error = residual(gram.h[g], gram.g[g], gram.energy[g], rounded.weights[g]);
        rounded.fit.noise += std::max(error, 0.0);
      }
    }
    return result;
  }

  /// Weights to the nearest, biases so that means are right: needs no second moments, which a wide
  /// layer takes long to make.
  std::vector<Rounded> round_each(const LayerFit& layer, WeightSteps steps) const {
    const FirstMoments moments = gather_first_moments(
        layer.shape(), context_.threads,
        [&](int64_t chunk, SampleRows& rows) { layer.read_chunk(chunk, rows); });
    std::vector<std::vector<double>> energies;
    for (size_t g = 0; g < layer.start().size(); ++g)
      energies.push_back(moments.energies(g, layer.has_bias()));
    std::vector<Rounded> result;
    for (const Grids& grids : candidates(layer.start(), energies, steps)) {
      Rounded& rounded = result.emplace_back(Rounded{.grids = grids, .weights = {}, .fit = {}});
      rounded.fit.signal = moments.signal();
      for (size_t g = 0; g < grids.size(); ++g)
        rounded.weights.push_back(nearest_with_bias(layer, moments, g, grids[g]));
    }
    measure_noise(layer, result);
    return result;
  }

  Matrix nearest_with_bias(const LayerFit& layer, const FirstMoments& moments, size_t g,
                           const RoundingGrid& grid) const {
    const Matrix& start = layer.start()[g];
    const Matrix q = round_to_nearest(without_bias(start), grid);
    const double own = 1 - options_.absorb;
    Matrix result(q.rows + 1, q.cols);
    for (int64_t o = 0; o < q.cols; ++o) {
      double bias = options_.absorb * moments.mean_target(g, o) + own * start.row(q.rows)[o];
      for (int64_t i = 0; i < q.rows; ++i) {
        result.row(i)[o] = grid.scales[static_cast<size_t>(o)] * q.row(i)[o];
        bias += moments.mean_input(g, i) * (own * start.row(i)[o] - result.row(i)[o]);
      }
      result.row(q.rows)[o] = layer.has_bias() ? bias : 0.0;
    }
    return result;
  }

  /// Sets E|t' - W u - b|^2, summed over outputs, of each way to round the layer.
  void measure_noise(const LayerFit& layer, std::vector<Rounded>& all) const {
    const int64_t chunks = layer.shape().chunks;
    std::vector<std::vector<double>> errors(static_cast<size_t>(chunks));
    std::vector<int64_t> rows_of(errors.size());
    const auto share = static_cast<float>(options_.absorb);
    parallel_for(chunks, context_.threads, [&](int64_t chunk) {
      SampleRows rows;
      layer.read_chunk(chunk, rows);
      rows_of[static_cast<size_t>(chunk)] = rows.rows;
      const std::vector<float> own = predict(rows, layer.start());
      for (const Rounded& rounded : all) {
        const std::vector<float> now = predict(rows, rounded.weights);
        double error = 0;
        for (size_t i = 0; i < now.size(); ++i) {
          const float missing = share * rows.targets[i] + (1 - share) * own[i] - now[i];
          error += static_cast<double>(missing * missing);
        }
        errors[static_cast<size_t>(chunk)].push_back(error);
      }
    });
    const auto count =
        static_cast<double>(std::accumulate(rows_of.begin(), rows_of.end(), int64_t{0}));
    for (size_t i = 0; i < all.size(); ++i) {
      for (const std::vector<double>& chunk : errors) all[i].fit.noise += chunk[i] / count;
    }
  }

  /// Grids to choose from by the error they leave. `energies` are the inputs', by group.
  std::vector<Grids> candidates(const std::vector<Matrix>& wanted,
                                const std::vector<std::vector<double>>& energies,
                                WeightSteps steps) const {
    Grids grids;
    double widest = 0, reach = 0;
    for (size_t g = 0; g < wanted.size(); ++g) {
      const Matrix weights = without_bias(wanted[g]);
      grids.push_back({steps.lowest, steps.highest, scales_of(weights, energies[g], steps)});
      widest = std::max(widest, *std::ranges::max_element(grids.back().scales));
      for (const double w : weights.data) reach = std::max(reach, std::abs(w) / steps.highest);
    }
    if (options_.per_channel) return {grids};
    std::vector<double> shared = {widest};
    if (options_.power_of_two) {
      const double whole = power_of_two_above(reach);
      shared = {whole, whole / 2, whole / 4};
    }
    std::vector<Grids> all;
    for (const double scale : shared) {
      for (RoundingGrid& grid : grids) std::ranges::fill(grid.scales, scale);
      all.push_back(grids);
    }
    return all;
  }

  bool compensates(const LayerFit& layer, WeightSteps steps) const {
    return options_.rounding == Rounding::kCompensated &&
           (steps.bits < 8 || layer.view().inputs() <= kWidestCompensated);
  }

  /// What the weights of each group should be, were they not integers.
  std::vector<Matrix> aims(const LayerFit& layer, const Gram& gram) const {
    std::vector<Matrix> result;
    for (size_t g = 0; g < gram.h.size(); ++g) {
      std::vector<int64_t> kept(static_cast<size_t>(gram.h[g].rows - (layer.has_bias() ? 0 : 1)));
      std::iota(kept.begin(), kept.end(), int64_t{0});
      const RidgeSolver solver(gram.h[g], options_.moments.ridge, std::move(kept));
      result.push_back(solver.solve(gram.g[g], layer.start()[g]));
    }
    return result;
  }

  Matrix round_group(const LayerFit& layer, const Gram& gram, size_t g, const Matrix& moments,
                     const Matrix& wanted, const RoundingGrid& grid) const {
    const Matrix& h = gram.h[g];
    const Matrix weights = without_bias(wanted);
    const Matrix q = round_weights(moments, weights, grid);
    const int64_t n = weights.rows;
    Matrix result(n + 1, weights.cols);
    for (int64_t o = 0; o < weights.cols; ++o) {
      double bias = gram.g[g].row(n)[o];
      for (int64_t i = 0; i < n; ++i) {
        result.row(i)[o] = q.row(i)[o] * grid.scales[static_cast<size_t>(o)];
        bias -= result.row(i)[o] * h.row(n)[i];
      }
      result.row(n)[o] = layer.has_bias() ? bias : 0.0;
    }
    return result;
  }

  /// Moves the target to t' = absorb t + (1 - absorb) (W0 u + b0): what the float weights make of
  /// the quantized network's input is hardly to be improved on where that input is only clipped.
  void blend(Gram& gram, size_t g, const Matrix& start) const {
    const double share = options_.absorb;
    const Matrix own = product(gram.h[g], start);  // E[u t^T] of t = W0 u + b0.
    double energy = 0, mixed = 0;                  // E|W0 u + b0|^2, E[t (W0 u + b0)].
    for (size_t i = 0; i < own.data.size(); ++i) {
      energy += own.data[i] * start.data[i];
      mixed += gram.g[g].data[i] * start.data[i];
      gram.g[g].data[i] = share * gram.g[g].data[i] + (1 - share) * own.data[i];
    }
    gram.energy[g] = share * share * gram.energy[g] + 2 * share * (1 - share) * mixed +
                     (1 - share) * (1 - share) * energy;
  }

  /// E|t - E[t]|^2.
  static double total_variance(const Gram& gram) {
    double result = 0;
    for (size_t g = 0; g < gram.g.size(); ++g) {
      result += gram.energy[g];
      const Matrix& moments = gram.g[g];
      for (int64_t o = 0; o < moments.cols; ++o) {
        const double mean = moments.row(moments.rows - 1)[o];
        result -= mean * mean;
      }
    }
    return std::max(result, 0.0);
  }

  /// Puts weights and bias into both the copy that the sweep runs and the graph to be quantized.
  void store(NodeId id, const LayerFit& layer, const ResultPath& path, Rounded rounded) {
    rounded.fit.code.axis =
        options_.per_channel ? static_cast<int>(layer.view().weighted().weight_output.axis) : -1;
    const Tensor weight = layer.view().weight_of(changed_, rounded.weights);
    const Tensor bias = layer.view().bias_of(changed_, rounded.weights);
    for (Graph* graph : {&changed_, &target_}) {
      set_constant_operand(*graph, id, 1, weight);
      if (path.addend != kNoValue) {
        const NodeId add = *original_.sole_user(original_.node(id).outputs[0]);
        const auto slot = static_cast<size_t>(original_.node(add).inputs[1] == path.addend);
        set_constant_operand(*graph, add, slot, bias.reshaped(original_.shape(path.addend)));
      } else if (layer.has_bias()) {
        set_constant_operand(*graph, id, 2, bias);
      }
    }
    fits_.emplace(id, std::move(rounded.fit));
  }

  Graph& target_;
  const QuantPlan& plan_;
  const WeightFitOptions& options_;
  const PassContext& context_;
  const Graph original_;
  Graph changed_;
  Lockstep lockstep_;
  std::vector<size_t> position_;  ///< By node.
  std::map<NodeId, WeightFit> fits_;
};

}  // namespace

std::map<NodeId, WeightFit> fit_weights(Graph& graph, const QuantPlan& plan,
                                        const std::map<ValueId, ActivationCode>& codes,
                                        const WeightFitOptions& options,
                                        const PassContext& context) {
  std::map<NodeId, WeightFit> fits = Sweep(graph, plan, codes, options, context).run();
  graph.infer_types();
  return fits;
}

}  // namespace pare
