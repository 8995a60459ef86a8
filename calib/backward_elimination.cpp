// Solves run on the calling thread, so that results do not depend on the number of threads.
#define EIGEN_DONT_PARALLELIZE

#include "calib/backward_elimination.h"

#include <Eigen/Dense>
#include <algorithm>
#include <numeric>
#include <span>

namespace pare {
namespace {

using RowMajor = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// As RidgeSolver's.
constexpr double kBiasDamping = 1e-9;
/// With more candidates than this left, one in this many goes in a step.
constexpr int64_t kStep = 96;

/// The inverse and the solution of one problem, over the rows that are still there.
class State {
 public:
  State(const EliminationProblem& problem, double ridge) : problem_(problem) {
    const Eigen::Map<const RowMajor> h(problem.h->data.data(), problem.h->rows, problem.h->cols);
    const Eigen::Map<const RowMajor> start(problem.start->data.data(), problem.start->rows,
                                           problem.start->cols);
    const Eigen::Index n = h.rows() - (problem.has_bias ? 0 : 1), inputs = h.rows() - 1;
    const double mean =
        inputs > 0 ? h.topLeftCorner(inputs, inputs).trace() / static_cast<double>(inputs) : 0;
    Eigen::MatrixXd a = h.topLeftCorner(n, n);
    a.diagonal().array() += mean > 0 ? ridge * mean : 1.0;
    if (problem.has_bias) a(n - 1, n - 1) = h(n - 1, n - 1) + kBiasDamping;
    const Eigen::VectorXd damping = a.diagonal() - h.diagonal().head(n);
    inverse_ = Eigen::MatrixXd::Identity(n, n);
    const Eigen::LLT<Eigen::Ref<Eigen::MatrixXd>> factor(a);  // In place: wide ones are large.
    factor.solveInPlace(inverse_);
    solution_ = start.topRows(n);
    if (problem.g) solution_ = solve(damping, *problem.g, start);
    if (problem.metric) {
      const Eigen::Map<const RowMajor> w(problem.metric->data.data(), problem.metric->rows,
                                         problem.metric->cols);
      root_ = w.llt().matrixL();
      solution_ = solution_ * root_;
    }
    place_.resize(static_cast<size_t>(h.rows()));
    std::iota(place_.begin(), place_.end(), Eigen::Index{0});
  }

  /// How much the error grows when the candidate goes.
  double score(size_t candidate) const {
    const std::vector<Eigen::Index> g = places(problem_.rows[candidate]);
    if (g.empty()) return 0;
    const Eigen::MatrixXd m = solution_(g, Eigen::all), block = inverse_(g, g);
    return problem_.weight * m.cwiseProduct(block.llt().solve(m)).sum();
  }

  /// Removes candidates together; returns how much the error grows.
  double remove(const std::vector<size_t>& candidates) {
    std::vector<int64_t> rows;
    for (size_t candidate : candidates)
      rows.insert(rows.end(), problem_.rows[candidate].begin(), problem_.rows[candidate].end());
    const std::vector<Eigen::Index> g = places(rows);
    if (g.empty()) return 0;
    const Eigen::MatrixXd columns = inverse_(Eigen::all, g), m = solution_(g, Eigen::all);
    const Eigen::MatrixXd block = inverse_(g, g);
    const Eigen::LLT<Eigen::MatrixXd> factor(block);
    const Eigen::MatrixXd z = factor.solve(m);
    solution_.noalias() -= columns * z;
    // The lower triangle would do, but the product is faster than what mirrors it.
    const Eigen::MatrixXd scaled = factor.solve(columns.transpose());
    inverse_.noalias() -= columns * scaled;
    drop(rows);
    return problem_.weight * m.cwiseProduct(z).sum();
  }

  KeptRows solution() const {
    KeptRows result{.rows = problem_.start->rows, .cols = problem_.start->cols};
    Eigen::MatrixXd m = solution_;
    if (problem_.metric) root_.triangularView<Eigen::Lower>().solveInPlace<Eigen::OnTheRight>(m);
    for (size_t row = 0; row < place_.size(); ++row) {
      if (place_[row] < 0 || place_[row] >= solution_.rows()) continue;
      result.kept.push_back(static_cast<int64_t>(row));
      for (Eigen::Index o = 0; o < m.cols(); ++o)
        result.data.push_back(static_cast<float>(m(place_[row], o)));
    }
    return result;
  }

 private:
  /// M before any removal; `damping` is what H has on its diagonal beside its own.
  Eigen::MatrixXd solve(const Eigen::VectorXd& damping, const Matrix& targets,
                        const Eigen::Map<const RowMajor>& start) const {
    const Eigen::Map<const RowMajor> g(targets.data.data(), targets.rows, targets.cols);
    const Eigen::Index n = damping.size();
    return inverse_ * (g.topRows(n) + damping.asDiagonal() * start.topRows(n));
  }

  std::vector<Eigen::Index> places(const std::vector<int64_t>& rows) const {
    std::vector<Eigen::Index> result;
    for (int64_t row : rows) result.push_back(place_[static_cast<size_t>(row)]);
    return result;
  }

  /// Forgets rows, and closes the gaps once a quarter of the rows is gone.
  void drop(const std::vector<int64_t>& rows) {
    for (int64_t row : rows) {
      Eigen::Index& place = place_[static_cast<size_t>(row)];
      solution_.row(place).setZero();
      inverse_.row(place).setZero();
      inverse_.col(place).setZero();
      place = -1;
      ++gaps_;
    }
    if (4 * gaps_ < inverse_.rows()) return;
    std::vector<Eigen::Index> kept;
    for (Eigen::Index& place : place_) {
      if (place < 0 || place >= inverse_.rows()) continue;
      kept.push_back(place);
      place = static_cast<Eigen::Index>(kept.size()) - 1;
    }
    inverse_ = Eigen::MatrixXd(inverse_(kept, kept));
    solution_ = Eigen::MatrixXd(solution_(kept, Eigen::all));
    gaps_ = 0;
  }

  const EliminationProblem& problem_;
  Eigen::MatrixXd inverse_;
  Eigen::MatrixXd root_;             ///< L of the metric L L^T.
  Eigen::MatrixXd solution_;         ///< M, or M L.
  std::vector<Eigen::Index> place_;  ///< Of each row of H in the matrices; -1 when removed.
  Eigen::Index gaps_ = 0;
};

}  // namespace

Matrix KeptRows::matrix() const {
  Matrix result(rows, cols);
  for (size_t i = 0; i < kept.size(); ++i)
    std::ranges::copy(
        std::span(data).subspan(i * static_cast<size_t>(cols), static_cast<size_t>(cols)),
        result.row(kept[i]));
  return result;
}

Elimination backward_elimination(const std::vector<EliminationProblem>& problems, double ridge,
                                 int64_t least, const std::vector<int64_t>& snapshots) {
  std::vector<State> states;
  for (const EliminationProblem& problem : problems) states.emplace_back(problem, ridge);
  std::vector<size_t> alive(problems.at(0).rows.size());
  std::iota(alive.begin(), alive.end(), size_t{0});
  Elimination result;
  result.error.resize(alive.size() + 1);
  double error = 0;
  auto snapshot = snapshots.begin();
  for (;;) {
    const auto left = static_cast<int64_t>(alive.size());
    for (; snapshot != snapshots.end() && *snapshot >= left; ++snapshot) {
      std::vector<KeptRows>& solutions = result.solutions.emplace_back();
      for (const State& state : states) solutions.push_back(state.solution());
    }
    if (left <= least) return result;
    const int64_t next_stop = snapshot == snapshots.end() ? least : std::max(least, *snapshot);
    const int64_t step = std::min(std::max<int64_t>(1, left / kStep), left - next_stop);

    std::vector<std::pair<double, size_t>> scores;
    for (size_t candidate : alive) {
      double score = 0;
      for (const State& state : states) score += state.score(candidate);
      scores.emplace_back(score, candidate);
    }
    std::ranges::partial_sort(scores, scores.begin() + step);
    std::vector<size_t> removed;
    for (int64_t i = 0; i < step; ++i) removed.push_back(scores[static_cast<size_t>(i)].second);
    double growth = 0;
    for (State& state : states) growth += state.remove(removed);
    for (int64_t i = 1; i <= step; ++i)
      result.error[static_cast<size_t>(left - i)] =
          error + growth * static_cast<double>(i) / static_cast<double>(step);
    error += growth;
    result.order.insert(result.order.end(), removed.begin(), removed.end());
    std::erase_if(alive, [&](size_t candidate) {
      return std::ranges::find(removed, candidate) != removed.end();
    });
  }
}

}  // namespace pare
