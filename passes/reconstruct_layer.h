#pragma once

#include <functional>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "calib/gram.h"
#include "passes/lockstep.h"
#include "passes/reconstruct.h"

namespace pare {

/// What happens to a weighted node's result y before anything else sees it:
/// z = clip(y + addend + stream), each part optional.
struct ResultPath {
  ValueId addend = kNoValue;  ///< Constant bias of a MatMul, added by a node of its own.
  ValueId stream = kNoValue;  ///< Computed before the node; same shape as y.
  double low = -std::numeric_limits<double>::infinity();  ///< Bounds of a Relu or Clip.
  double high = std::numeric_limits<double>::infinity();
  bool clipped() const { return low > -1e38 || high < 1e38; }
};

/// Follows the result of `node` through its sole users. `position` is by node: its place in the
/// order, for telling which operand of an addition is there already.
ResultPath follow_result(const Graph& graph, const WeightedNode& node,
                         const std::vector<size_t>& position);

/// No weight is fitted to the batch (held_out.h).
bool is_held_out(const Lockstep& lockstep, int64_t batch);

/// The least-squares problem of one weighted node of the changed graph, over the samples of a
/// Lockstep that has run everything before the node in both graphs and the node in the original.
///
/// How far the weights are pulled towards what they were is chosen on the batches held out: with
/// few samples a layer of many inputs would else learn the samples by heart, and the layers behind
/// it would be fitted to what it gives on those only.
class LayerFit {
 public:
  LayerFit(const Graph& original, const Graph& changed, const Lockstep& lockstep, PatchView view,
           const ResultPath& path, const SurvivingIndices& surviving,
           const ReconstructOptions& options);

  /// Weights as they are, by group, bias (and addend) in the last row.
  const std::vector<Matrix>& start() const { return start_; }
  const PatchView& view() const { return view_; }
  /// There are several rows for each weight of an output, so that what fits them holds for others.
  bool is_well_determined() const { return rows_ >= 4 * view_.inputs(); }
  /// The node can be given a bias: every weighted node but a MatMul without an addend.
  bool has_bias() const;
  /// Inputs and targets, over all batches, in chunks.
  GramShape shape() const { return shape(all_); }
  void read_chunk(int64_t chunk, SampleRows& rows) const { read_chunk(all_, chunk, rows, nullptr); }
  /// Second moments of the changed graph's inputs and the targets, over all batches, and over those
  /// that are not held out.
  Gram moments() const { return moments(all_); }
  Gram fitted_moments() const { return moments(fitted_); }
  /// What is missing from the result `y` of the changed node on a batch to what is wanted of it:
  /// target minus `y`, all places. Zero where clipping leaves `y` free.
  Tensor shortfall(int64_t batch, const Tensor& y) const;
  /// How errors of the result count, by group; empty where they count alike.
  std::vector<Matrix> metric() const;
  /// Solves for the weights, of all inputs or of those that `chooser` picks.
  std::vector<Matrix> solve(InputChooser* chooser = nullptr) const;

 private:
  using Batches = std::vector<int64_t>;
  GramShape shape(const Batches& batches) const;
  void count_rows();
  /// Adds what clipping leaves free to the targets, given weights `m`; returns the squared error of
  /// `m` that is left.
  double free_clipped(const std::vector<Matrix>& m, std::span<const float> stream,
                      SampleRows& rows) const;
  void append_batch(int64_t batch, SampleRows& rows, std::vector<float>* stream) const;
  void read_chunk(const Batches& batches, int64_t chunk, SampleRows& rows,
                  std::vector<float>* stream) const;
  void read_freed(const Batches& batches, int64_t chunk, const std::vector<Matrix>& m,
                  SampleRows& rows) const;
  Gram moments(const Batches& batches) const;
  /// Squared error of `m` on the batches held out.
  double error_held_out(const std::vector<Matrix>& m) const;
  /// Calls `solve` with growing ridges for as long as that makes the error on the batches held out
  /// smaller; the ridge and the weights of the smallest.
  std::pair<double, std::vector<Matrix>> best_ridge(
      const std::function<std::vector<Matrix>(double ridge)>& solve) const;
  std::vector<Matrix> solve_primal(InputChooser* chooser) const;
  std::vector<Matrix> solve_with_few_rows() const;

  const Graph &original_, &changed_;
  const Lockstep& lockstep_;
  PatchView view_;
  ResultPath path_;
  ReconstructOptions options_;
  std::vector<int64_t> kept_;  ///< Output channels of the original that are left.
  std::vector<Matrix> start_;
  Batches all_, fitted_, held_out_;
  int64_t positions_ = 0;  ///< Places an image.
  int64_t rows_ = 0;       ///< In all.
  int64_t chunk_ = 1;      ///< Batches a chunk.
};

}  // namespace pare
