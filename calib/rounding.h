#pragma once

#include <cstdint>
#include <vector>

#include "calib/patches.h"

namespace pare {

/// Integers weights may take: w = scales[output] * q, q in [lowest, highest].
struct RoundingGrid {
  int lowest = -127, highest = 127;
  std::vector<double> scales;  ///< By output.
};

struct RoundingOptions {
  /// Added to the diagonal of the Gram matrix, in means of that diagonal.
  double damping = 0.01;
  /// Rounds the inputs of most energy first.
  bool by_energy = true;
  /// Sweeps of the search for single weights that are better one step up or down.
  int sweeps = 4;
};

/// Integers q, as a matrix like `weights` ([inputs, outputs]), that keep scales * q close to the
/// weights where it matters:
///
///   E(q) = sum over outputs of e^T H e,  e = weights - scales * q,  H = E[u u^T] of the inputs
///
/// Rounds one input's weights at a time and spreads the error over the inputs that are left, from
/// the Cholesky factor of the inverse of H (GPTQ: Frantar et al. 2022; OBQ); then moves single
/// weights a step while that lowers E. O(inputs^2 (inputs + outputs)) time, H twice in memory.
/// Deterministic. `h` is [inputs, inputs]; H of centred inputs where a bias takes up the mean.
Matrix round_weights(const Matrix& h, const Matrix& weights, const RoundingGrid& grid,
                     const RoundingOptions& options = {});

/// q nearest to each weight.
Matrix round_to_nearest(const Matrix& weights, const RoundingGrid& grid);

/// For each output the scale with the least sum over inputs of energy * (w - scale * q)^2, q
/// nearest, in percent of the one that reaches every weight, down to a fifth. `energy` is by input;
/// empty for ones. An output of zeros gets the largest scale of the others, or 1.
std::vector<double> least_squares_scales(const Matrix& weights, const std::vector<double>& energy,
                                         int lowest, int highest);

/// A B.
Matrix product(const Matrix& a, const Matrix& b);

/// E(q) above: what rounding to `q` adds to the squared error of the node's result.
double rounding_error(const Matrix& h, const Matrix& weights, const RoundingGrid& grid,
                      const Matrix& q);

}  // namespace pare
