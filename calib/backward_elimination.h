#pragma once

#include <cstdint>
#include <vector>

#include "calib/patches.h"

namespace pare {

/// One regression t = M^T u that loses inputs, of which H = E[u u^T] is known.
struct EliminationProblem {
  const Matrix* h = nullptr;      ///< [inputs + 1, inputs + 1]; the last row is the bias.
  const Matrix* start = nullptr;  ///< M as it is [inputs + 1, outputs].
  /// E[u t^T]; null where t is what `start` predicts, so that nothing is wrong before any removal.
  const Matrix* g = nullptr;
  /// Rows of H each candidate takes with it, by candidate.
  std::vector<std::vector<int64_t>> rows;
  /// How errors e of the outputs count, e^T W e [outputs, outputs], positive definite; null where
  /// they count alike. Says what goes, not what is best for the rest: that is the same for any W.
  const Matrix* metric = nullptr;
  double weight = 1;     ///< Of its error in the sum.
  bool has_bias = true;  ///< Else the last row of H plays no part.
};

/// A matrix of which only some rows are kept, in float; the others are zero.
struct KeptRows {
  int64_t rows = 0, cols = 0;
  std::vector<int64_t> kept;  ///< Ascending.
  std::vector<float> data;    ///< [kept, cols], row-major.
  Matrix matrix() const;
};

/// What backward_elimination() found.
struct Elimination {
  std::vector<size_t> order;  ///< Candidates, first removed first.
  /// Weighted squared error with k candidates left, above that with all; only k >= `least` are
  /// filled.
  std::vector<double> error;
  /// The best M of each problem, by index into `snapshots`, then by problem.
  std::vector<std::vector<KeptRows>> solutions;
};

/// Removes candidates one after the other, each time the one whose loss the others can make up for
/// best, by exact updates of the inverse (optimal brain surgeon in blocks); where there are many, a
/// few per cent of them at a time.
///
/// Several problems may share the candidates: a channel with several consumers. `ridge` is as in
/// RidgeSolver, towards `start`. Stops at `least` candidates. `snapshots` are numbers of candidates
/// left, descending, at which solutions are taken. Source: Hassibi and Stork, "Second Order
/// Derivatives for Network Pruning: Optimal Brain Surgeon", NIPS 1992.
Elimination backward_elimination(const std::vector<EliminationProblem>& problems, double ridge,
                                 int64_t least, const std::vector<int64_t>& snapshots);

}  // namespace pare
