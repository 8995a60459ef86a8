#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "calib/patches.h"

namespace pare {

/// Rows of one chunk of samples, as float: patches [rows, groups * inputs] and targets
/// [rows, groups * outputs], row-major.
struct SampleRows {
  int64_t rows = 0;
  std::vector<float> patches, targets;
};

/// Fills the rows of chunk `i`. Called from many threads at once.
using FillRows = std::function<void(int64_t i, SampleRows& rows)>;

/// What the rows of a least-squares problem look like.
struct GramShape {
  int64_t groups = 1;   ///< Independent problems, side by side in a row.
  int64_t inputs = 0;   ///< Of a group, without the constant 1.
  int64_t outputs = 0;  ///< Of a group.
  int64_t chunks = 0;   ///< How many times FillRows is called.
};

/// Second moments of the input u = [patch; 1] and the target t of one weighted node, by group:
///
///   H = E[u u^T]   [inputs + 1, inputs + 1]      G = E[u t^T]   [inputs + 1, outputs]
///   energy = E[t^2], summed over outputs
///
/// Accumulated in float over a few chunks and in double beyond, in the order of the chunks, so the
/// result is bit-identical at any number of threads.
struct Gram {
  int64_t rows = 0;
  std::vector<Matrix> h, g;
  std::vector<double> energy;
};

/// The whole of Gram.
Gram gather_gram(const GramShape& shape, int threads, const FillRows& fill);
/// Only `g` and `energy`, for another target on inputs whose H is known.
Gram gather_targets(const GramShape& shape, int threads, const FillRows& fill);

/// Solves min E|M^T u - t|^2 + d |M - M0|^2 for one group, d = `ridge` * mean(diag H) and 1e-9 for
/// the bias row; in double, by Cholesky. Source: ../docs/pruning.md.
class RidgeSolver {
 public:
  /// Uses only the given rows of `h`, ascending; all when empty. Without the last row there is no
  /// bias.
  RidgeSolver(const Matrix& h, double ridge, std::vector<int64_t> kept = {});
  ~RidgeSolver();
  RidgeSolver(RidgeSolver&&) noexcept;
  RidgeSolver& operator=(RidgeSolver&&) noexcept;

  /// M; rows that are not kept are zero.
  Matrix solve(const Matrix& g, const Matrix& start) const;

 private:
  struct Factor;
  std::unique_ptr<Factor> factor_;
};

/// The same problem (one group) where there are fewer rows than inputs, in the dual: a system as
/// large as the rows. `start` is M0 with the bias as its last row, which stays zero unless `bias`.
Matrix solve_dual(const std::vector<SampleRows>& chunks, const Matrix& start, double ridge,
                  bool bias);
/// Predictions u M of every row of `rows`, for all groups: [rows, groups * outputs].
std::vector<float> predict(const SampleRows& rows, const std::vector<Matrix>& m);

/// E|M^T u - t|^2 of one group, from its moments.
double residual(const Matrix& h, const Matrix& g, double energy, const Matrix& m);

}  // namespace pare
