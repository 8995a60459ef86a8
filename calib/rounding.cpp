// Solves run on the calling thread, so that results do not depend on the number of threads.
#define EIGEN_DONT_PARALLELIZE

#include "calib/rounding.h"

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "support/error.h"

namespace pare {
namespace {

using RowMajor = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Rows = Eigen::Map<const RowMajor>;

/// Inputs rounded before the others are brought up to date.
constexpr Eigen::Index kBlock = 96;

Rows view(const Matrix& m) { return {m.data.data(), m.rows, m.cols}; }

/// Steps of the grid nearest to `weight`.
double nearest(double weight, double scale, const RoundingGrid& grid) {
  return std::clamp(std::nearbyint(weight / scale), static_cast<double>(grid.lowest),
                    static_cast<double>(grid.highest));
}

/// Each about doubles the diagonal.
constexpr int kMostDampings = 64;

/// H with a damped diagonal; inputs that are always zero stand alone.
Eigen::MatrixXd damped(const Rows& h, double damping) {
  Eigen::MatrixXd result = h;
  const double mean = h.diagonal().mean();
  result.diagonal().array() += mean > 0 ? damping * mean : 1.0;
  return result;
}

/// Inputs in the order they are rounded in.
std::vector<Eigen::Index> rounding_order(const Rows& h, bool by_energy) {
  std::vector<Eigen::Index> order(static_cast<size_t>(h.rows()));
  std::iota(order.begin(), order.end(), Eigen::Index{0});
  if (by_energy) std::ranges::stable_sort(order, [&](auto a, auto b) { return h(a, a) > h(b, b); });
  return order;
}

/// U of H^-1 = U^T U, upper triangular: row i holds how the error of input i spreads over later
/// ones. H = R R^T with R upper triangular is the Cholesky factorization of H read backwards, and
/// U = R^-1, a block of columns at a time: nothing lies below them.
///
/// Moments of inputs that hardly vary may be all rounding; `h` is damped until it can be factored.
Eigen::MatrixXd spreading(Eigen::MatrixXd& h) {
  const Eigen::Index n = h.rows();
  Eigen::LLT<Eigen::MatrixXd> llt(h.reverse());
  for (int i = 0; i < kMostDampings && llt.info() != Eigen::Success; ++i) {
    h.diagonal().array() += h.diagonal().cwiseAbs().mean();
    llt.compute(h.reverse());
  }
  PARE_CHECK(llt.info() == Eigen::Success, "a damped Gram matrix is not positive definite");
  const Eigen::MatrixXd lower = llt.matrixL();
  const Eigen::MatrixXd r = lower.reverse();
  Eigen::MatrixXd u = Eigen::MatrixXd::Identity(n, n);
  for (Eigen::Index first = 0; first < n; first += kBlock) {
    const Eigen::Index count = std::min(kBlock, n - first), end = first + count;
    auto columns = u.block(0, first, end, count);
    r.topLeftCorner(end, end).triangularView<Eigen::Upper>().solveInPlace(columns);
  }
  return u;
}

/// Rounds the rows of `w` in order; returns integers, and leaves in `w` what was aimed at.
RowMajor compensate(const Eigen::MatrixXd& u, RowMajor w, const RoundingGrid& grid) {
  const Eigen::Index n = w.rows(), outputs = w.cols();
  RowMajor q(n, outputs);
  for (Eigen::Index first = 0; first < n; first += kBlock) {
    const Eigen::Index count = std::min(kBlock, n - first), rest = n - first - count;
    RowMajor errors(count, outputs);
    for (Eigen::Index i = 0; i < count; ++i) {
      const Eigen::Index row = first + i;
      for (Eigen::Index o = 0; o < outputs; ++o) {
        const double scale = grid.scales[static_cast<size_t>(o)];
        q(row, o) = nearest(w(row, o), scale, grid);
        errors(i, o) = (w(row, o) - scale * q(row, o)) / u(row, row);
      }
      for (Eigen::Index later = i + 1; later < count; ++later)
        w.row(first + later) -= u(row, first + later) * errors.row(i);
    }
    if (rest > 0)
      w.bottomRows(rest) -= u.block(first, first + count, count, rest).transpose() * errors;
  }
  return q;
}

/// Moves weights of one output a step while that lowers e^T H e. `r` is H e.
void descend(const Eigen::MatrixXd& h, double scale, const RoundingGrid& grid, int sweeps,
             Eigen::VectorXd& e, Eigen::Ref<Eigen::VectorXd> q) {
  Eigen::VectorXd r = h * e;
  for (int sweep = 0; sweep < sweeps; ++sweep) {
    bool moved = false;
    for (Eigen::Index i = 0; i < q.size(); ++i) {
      // e_i falls by scale * step: E changes by scale^2 H_ii step^2 - 2 scale step r_i.
      const double step = r(i) > 0 ? 1 : -1;
      if (scale * h(i, i) >= 2 * std::abs(r(i)) * (1 - 1e-9)) continue;
      const double moved_to = q(i) + step;
      if (moved_to < grid.lowest || moved_to > grid.highest) continue;
      q(i) = moved_to;
      e(i) -= scale * step;
      r -= scale * step * h.col(i);
      moved = true;
    }
    if (!moved) return;
  }
}

Matrix to_matrix(const RowMajor& m) {
  Matrix result(m.rows(), m.cols());
  std::copy_n(m.data(), m.size(), result.data.data());
  return result;
}

/// The weights of one output, side by side.
struct Column {
  std::vector<double> weights;
  const std::vector<double>& energy;

  double squared_error(double scale, const RoundingGrid& grid) const {
    double error = 0;
    for (size_t i = 0; i < weights.size(); ++i) {
      const double e = weights[i] - scale * nearest(weights[i], scale, grid);
      error += (energy.empty() ? 1.0 : energy[i]) * e * e;
    }
    return error;
  }
};

/// The scale with which every weight is reached; 0 where there is none but zeros.
double reaching_scale(const std::vector<double>& weights, const RoundingGrid& grid) {
  double scale = 0;
  for (const double w : weights)
    scale = std::max(scale, w < 0 ? w / grid.lowest : w / grid.highest);
  return scale;
}

/// The best scale in percent of `reach`, on a coarse grid and then between its points.
double best_scale(const Column& column, double reach, const RoundingGrid& grid) {
  constexpr int kLargest = 100, kSmallest = 20, kCoarse = 5;
  const auto scale_at = [&](int percent) {
    return static_cast<double>(static_cast<float>(reach * percent / 100));
  };
  int best = kLargest;
  double least = column.squared_error(scale_at(best), grid);
  const auto consider = [&](int percent) {
    if (percent > kLargest || percent < kSmallest) return;
    const double error = column.squared_error(scale_at(percent), grid);
    if (error < least) least = error, best = percent;
  };
  for (int percent = kLargest - kCoarse; percent >= kSmallest; percent -= kCoarse)
    consider(percent);
  const int middle = best;
  for (int percent = middle - kCoarse + 1; percent < middle + kCoarse; ++percent) consider(percent);
  return scale_at(best);
}

}  // namespace

Matrix round_weights(const Matrix& h, const Matrix& weights, const RoundingGrid& grid,
                     const RoundingOptions& options) {
  const Rows full = view(h), w = view(weights);
  const std::vector<Eigen::Index> order = rounding_order(full, options.by_energy);
  Eigen::MatrixXd ordered = damped(full, options.damping)(order, order);
  const RowMajor aim = w(order, Eigen::all);
  RowMajor q = compensate(spreading(ordered), aim, grid);
  for (Eigen::Index o = 0; o < q.cols(); ++o) {
    const double scale = grid.scales[static_cast<size_t>(o)];
    Eigen::VectorXd column = q.col(o), e = aim.col(o) - scale * column;
    descend(ordered, scale, grid, options.sweeps, e, column);
    q.col(o) = column;
  }
  RowMajor result(q.rows(), q.cols());
  for (size_t i = 0; i < order.size(); ++i)
    result.row(order[i]) = q.row(static_cast<Eigen::Index>(i));
  return to_matrix(result);
}

Matrix round_to_nearest(const Matrix& weights, const RoundingGrid& grid) {
  Matrix q(weights.rows, weights.cols);
  for (int64_t i = 0; i < weights.rows; ++i) {
    for (int64_t o = 0; o < weights.cols; ++o)
      q.row(i)[o] = nearest(weights.row(i)[o], grid.scales[static_cast<size_t>(o)], grid);
  }
  return q;
}

std::vector<double> least_squares_scales(const Matrix& weights, const std::vector<double>& energy,
                                         int lowest, int highest) {
  const RoundingGrid grid{lowest, highest, {}};
  std::vector<double> scales(static_cast<size_t>(weights.cols), 0.0);
  for (int64_t o = 0; o < weights.cols; ++o) {
    Column column{std::vector<double>(static_cast<size_t>(weights.rows)), energy};
    for (int64_t i = 0; i < weights.rows; ++i)
      column.weights[static_cast<size_t>(i)] = weights.row(i)[o];
    const double reach = reaching_scale(column.weights, grid);
    if (reach >= static_cast<double>(std::numeric_limits<float>::min()))
      scales[static_cast<size_t>(o)] = best_scale(column, reach, grid);
  }
  const double widest = *std::ranges::max_element(scales);
  for (double& scale : scales) {
    if (scale == 0) scale = widest > 0 ? widest : 1.0;
  }
  return scales;
}

Matrix product(const Matrix& a, const Matrix& b) { return to_matrix(view(a) * view(b)); }

double rounding_error(const Matrix& h, const Matrix& weights, const RoundingGrid& grid,
                      const Matrix& q) {
  const Eigen::Map<const Eigen::RowVectorXd> scales(grid.scales.data(), weights.cols);
  const RowMajor e = view(weights) - (view(q).array().rowwise() * scales.array()).matrix();
  return e.cwiseProduct(view(h) * e).sum();
}

}  // namespace pare
