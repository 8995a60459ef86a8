#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "calib/dataset.h"
#include "calib/gram.h"
#include "ir/channel_slots.h"
#include "passes/error_metric.h"
#include "passes/pass.h"

namespace pare {

/// How weights are fitted to the original network's activations.
struct ReconstructOptions {
  int64_t samples = 512;
  int64_t positions = 64;  ///< Places an image and layer.
  double ridge = 0.05;     ///< Pull towards the weights as they are, in mean input energies.
  /// Steps by which the producers of what a node reads are bettered for its sake; 0 for none.
  int64_t producer_steps = 0;
  /// Bound on what is held at once: activations, moments, solutions, copies of the weights [bytes].
  /// Samples are kept in half their bytes, then fewer are used, to stay under it.
  int64_t max_memory = int64_t{3} << 30;
  /// How errors of results count; where nothing is known of a node they count alike.
  std::shared_ptr<const ErrorMetrics> metrics;
};

struct ReconstructResult {
  int64_t samples = 0;
  int64_t fitted = 0;     ///< Weighted nodes with new weights.
  int64_t producers = 0;  ///< Times a producer was bettered.
  int64_t skipped = 0;    ///< Weighted nodes behind a change that could not be fitted.
};

/// Indices of an axis of the original graph that the changed graph still has, ascending.
using SurvivingIndices = std::function<std::vector<int64_t>(Dim)>;

/// The moments of one weighted node that reconstruct() is about to solve for.
struct LayerMoments {
  NodeId node;
  const PatchView& view;
  const Gram& gram;
  const std::vector<Matrix>& start;  ///< Weights as they are, by group, bias in the last row.
  /// How errors count, by group (EliminationProblem::metric); empty where they count alike.
  const std::vector<Matrix>& metric;
  bool has_bias;
};

/// Keeps fits from using some of their inputs.
class InputChooser {
 public:
  virtual ~InputChooser() = default;
  virtual bool restricts(NodeId node) const = 0;
  /// For a node that is restricted: the rows of Gram::h its fit may use, by group, ascending and
  /// without the bias. Other weights become zero.
  virtual std::vector<std::vector<int64_t>> choose(const LayerMoments& layer) = 0;
};

/// Fits the weights of `changed`, a copy of `original` in which channels were removed, so that it
/// computes what `original` computes on the samples.
///
/// One sweep in execution order runs both graphs in step on all samples. At every weighted node at
/// or behind the first change it solves a ridge regression from the changed graph's own input to
/// the original's output, and goes on with the new weights; so each layer makes up for what the
/// ones before it got wrong. Where the output is added to a stream that is already computed the
/// target is the original's sum minus that stream, and where a Relu or a Clip follows, what it cuts
/// off is left free. A node without a bias gets one. Two forward passes in total; what is held is
/// bounded by `max_memory`, with a warning when samples are left out for it. Bit-identical at any
/// number of threads. A node that `chooser` restricts counts as changed.
///
/// With `producer_steps`, what a fitted node reads is bettered next: the weights of producers that
/// only it sees take Gauss-Newton steps towards its target (refit_producer.h), and it is fitted
/// again.
ReconstructResult reconstruct(const Graph& original, Graph& changed,
                              const SurvivingIndices& surviving, const ReconstructOptions& options,
                              const PassContext& context, InputChooser* chooser = nullptr);

}  // namespace pare
