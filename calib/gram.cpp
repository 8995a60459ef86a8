// Solves run on the calling thread, so that results do not depend on the number of threads.
#define EIGEN_DONT_PARALLELIZE

#include "calib/gram.h"

#include <Eigen/Dense>
#include <algorithm>
#include <numeric>
#include <optional>

#include "support/parallel.h"
#include "tensor/gemm.h"

namespace pare {
namespace {

using RowMajor = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

Eigen::Map<const RowMajor> view(const Matrix& m) { return {m.data.data(), m.rows, m.cols}; }
Eigen::Map<RowMajor> view(Matrix& m) { return {m.data.data(), m.rows, m.cols}; }

/// Below this width a call of gemm costs more than the multiplications.
constexpr int64_t kSmall = 24;
/// Columns of H computed at a time; what lies below the diagonal blocks is mirrored.
constexpr int64_t kBlock = 192;

/// C [m, n] = A^T B of a row-major A [rows, m] and B [rows, n] with row strides.
void transposed_product(int64_t rows, int64_t m, int64_t n, const float* a, int64_t lda,
                        const float* b, int64_t ldb, float* c, int64_t ldc) {
  if (m > kSmall || n > kSmall) {
    gemm(Transpose::kYes, Transpose::kNo, m, n, rows, a, lda, b, ldb, 0.0f, c, ldc);
    return;
  }
  for (int64_t i = 0; i < m; ++i) std::fill_n(c + i * ldc, n, 0.0f);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t i = 0; i < m; ++i) {
      const float x = a[r * lda + i];
      for (int64_t j = 0; j < n; ++j) c[i * ldc + j] += x * b[r * ldb + j];
    }
  }
}

void add_column_sums(int64_t rows, int64_t n, const float* a, int64_t lda, double* sums) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t j = 0; j < n; ++j) sums[j] += static_cast<double>(a[r * lda + j]);
  }
}

/// Sums of chunks that are merged together may take this much [bytes], or as much as four.
constexpr int64_t kMostPartial = int64_t{64} << 20;

/// Float sums of one chunk, all groups.
struct Partial {
  SampleRows rows;
  std::vector<float> h, g;           ///< [groups, inputs, inputs] (upper blocks), [.., outputs]
  std::vector<double> sum_u, sum_t;  ///< [groups * inputs], [groups * outputs]
  std::vector<double> energy;        ///< [groups]
};

void compute(const GramShape& s, bool with_h, Partial& p) {
  const int64_t width = s.groups * s.inputs, wide = s.groups * s.outputs, rows = p.rows.rows;
  const float* u = p.rows.patches.data();
  const float* t = p.rows.targets.data();
  p.g.resize(static_cast<size_t>(width * s.outputs));
  if (with_h) p.h.resize(static_cast<size_t>(width * s.inputs));
  for (int64_t g = 0; g < s.groups; ++g) {
    const float* ug = u + g * s.inputs;
    transposed_product(rows, s.inputs, s.outputs, ug, width, t + g * s.outputs, wide,
                       p.g.data() + g * s.inputs * s.outputs, s.outputs);
    for (int64_t j = 0; with_h && j < s.inputs; j += kBlock) {
      const int64_t n = std::min(kBlock, s.inputs - j);
      transposed_product(rows, j + n, n, ug, width, ug + j, width,
                         p.h.data() + g * s.inputs * s.inputs + j, s.inputs);
    }
  }
  p.sum_u.assign(static_cast<size_t>(width), 0.0);
  p.sum_t.assign(static_cast<size_t>(wide), 0.0);
  p.energy.assign(static_cast<size_t>(s.groups), 0.0);
  if (with_h) add_column_sums(rows, width, u, width, p.sum_u.data());
  add_column_sums(rows, wide, t, wide, p.sum_t.data());
  for (int64_t i = 0; i < rows * wide; ++i)
    p.energy[static_cast<size_t>(i % wide / s.outputs)] +=
        static_cast<double>(t[i]) * static_cast<double>(t[i]);
}

void merge(const GramShape& s, bool with_h, const Partial& p, Gram& total) {
  total.rows += p.rows.rows;
  for (int64_t g = 0; g < s.groups; ++g) {
    const auto group = static_cast<size_t>(g);
    const float* pg = p.g.data() + g * s.inputs * s.outputs;
    double* tg = total.g[group].data.data();
    for (int64_t i = 0; i < s.inputs * s.outputs; ++i) tg[i] += static_cast<double>(pg[i]);
    for (int64_t o = 0; o < s.outputs; ++o)
      total.g[group].row(s.inputs)[o] += p.sum_t[static_cast<size_t>(g * s.outputs + o)];
    total.energy[group] += p.energy[group];
    if (!with_h) continue;
    const float* ph = p.h.data() + g * s.inputs * s.inputs;
    Matrix& h = total.h[group];
    for (int64_t i = 0; i < s.inputs; ++i) {
      for (int64_t j = i; j < s.inputs; ++j)
        h.row(i)[j] += static_cast<double>(ph[i * s.inputs + j]);
      h.row(i)[s.inputs] += p.sum_u[static_cast<size_t>(g * s.inputs + i)];
    }
  }
}

/// Divides by the rows and mirrors H.
void finish(const GramShape& s, bool with_h, Gram& total) {
  const double scale = 1.0 / static_cast<double>(std::max<int64_t>(1, total.rows));
  for (size_t g = 0; g < total.g.size(); ++g) {
    for (double& x : total.g[g].data) x *= scale;
    total.energy[g] *= scale;
    if (!with_h) continue;
    Matrix& h = total.h[g];
    h.row(s.inputs)[s.inputs] = static_cast<double>(total.rows);
    for (int64_t i = 0; i <= s.inputs; ++i) {
      for (int64_t j = i; j <= s.inputs; ++j) {
        h.row(i)[j] *= scale;
        h.row(j)[i] = h.row(i)[j];
      }
    }
  }
}

Gram gather(const GramShape& s, int threads, const FillRows& fill, bool with_h) {
  Gram total;
  for (int64_t g = 0; g < s.groups; ++g) {
    if (with_h) total.h.emplace_back(s.inputs + 1, s.inputs + 1);
    total.g.emplace_back(s.inputs + 1, s.outputs);
  }
  total.energy.assign(static_cast<size_t>(s.groups), 0.0);
  // Waves of as many chunks as threads bound the memory; merging in order keeps the sums the same.
  // Where sums are large there are fewer, which take little beside what is made of them.
  const int64_t sums = 4 * s.groups * s.inputs * (s.outputs + (with_h ? s.inputs : 0));
  const int64_t most = std::max<int64_t>(1, std::max(kMostPartial, 4 * sums) / (1 + sums));
  std::vector<Partial> wave(static_cast<size_t>(std::clamp<int64_t>(threads, 1, most)));
  const auto width = static_cast<int64_t>(wave.size());
  for (int64_t first = 0; first < s.chunks; first += width) {
    const int64_t count = std::min(width, s.chunks - first);
    parallel_for(count, threads, [&](int64_t i) {
      Partial& partial = wave[static_cast<size_t>(i)];
      fill(first + i, partial.rows);
      compute(s, with_h, partial);
    });
    for (int64_t i = 0; i < count; ++i) merge(s, with_h, wave[static_cast<size_t>(i)], total);
  }
  finish(s, with_h, total);
  return total;
}

/// Damping of the weights: a share of the mean of the diagonal without the bias entry.
double damping(double trace, int64_t inputs, double ridge) {
  const double d = inputs > 0 ? ridge * trace / static_cast<double>(inputs) : 0;
  return d > 0 ? d : 1.0;  // An input that is always zero keeps its weights.
}

constexpr double kBiasDamping = 1e-9;

}  // namespace

Gram gather_gram(const GramShape& shape, int threads, const FillRows& fill) {
  return gather(shape, threads, fill, true);
}

Gram gather_targets(const GramShape& shape, int threads, const FillRows& fill) {
  return gather(shape, threads, fill, false);
}

struct RidgeSolver::Factor {
  std::vector<int64_t> kept;
  Eigen::VectorXd damping;  ///< By kept row.
  Eigen::MatrixXd a;
  std::optional<Eigen::LLT<Eigen::Ref<Eigen::MatrixXd>>> llt;  ///< In place, in `a`.
};

RidgeSolver::RidgeSolver(const Matrix& h, double ridge, std::vector<int64_t> kept)
    : factor_(std::make_unique<Factor>()) {
  if (kept.empty()) {
    kept.resize(static_cast<size_t>(h.rows));
    std::iota(kept.begin(), kept.end(), int64_t{0});
  }
  const auto full = view(h);
  if (!full.allFinite())
    throw Error(ErrorKind::kInput,
                "the activations on the calibration data are not finite numbers, so weights cannot "
                "be fitted to them");
  const double d = damping(full.trace() - full(h.rows - 1, h.rows - 1), h.rows - 1, ridge);
  const auto n = static_cast<Eigen::Index>(kept.size());
  factor_->damping = Eigen::VectorXd::Constant(n, d);
  if (kept.back() == h.rows - 1) factor_->damping(n - 1) = kBiasDamping;
  factor_->a = full(kept, kept);
  factor_->a.diagonal() += factor_->damping;
  factor_->llt.emplace(factor_->a);
  PARE_CHECK(factor_->llt->info() == Eigen::Success,
             "a damped Gram matrix is not positive definite");
  factor_->kept = std::move(kept);
}

RidgeSolver::~RidgeSolver() = default;
RidgeSolver::RidgeSolver(RidgeSolver&&) noexcept = default;
RidgeSolver& RidgeSolver::operator=(RidgeSolver&&) noexcept = default;

Matrix RidgeSolver::solve(const Matrix& g, const Matrix& start) const {
  const auto& kept = factor_->kept;
  Eigen::MatrixXd right = view(start)(kept, Eigen::all);
  right.array().colwise() *= factor_->damping.array();
  right += view(g)(kept, Eigen::all);
  factor_->llt->solveInPlace(right);
  Matrix result(g.rows, g.cols);
  view(result)(kept, Eigen::all) = right;
  return result;
}

Matrix solve_dual(const std::vector<SampleRows>& chunks, const Matrix& start, double ridge,
                  bool bias) {
  const int64_t inputs = start.rows - 1, outputs = start.cols;
  int64_t rows = 0;
  for (const SampleRows& chunk : chunks) rows += chunk.rows;
  RowMajor u(rows, inputs), t(rows, outputs);
  int64_t row = 0;
  using Floats =
      Eigen::Map<const Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>;
  for (const SampleRows& chunk : chunks) {
    u.middleRows(row, chunk.rows) = Floats(chunk.patches.data(), chunk.rows, inputs).cast<double>();
    t.middleRows(row, chunk.rows) =
        Floats(chunk.targets.data(), chunk.rows, outputs).cast<double>();
    row += chunk.rows;
  }
  const double count = static_cast<double>(std::max<int64_t>(1, rows));
  const double d = damping(u.squaredNorm() / count, inputs, ridge);
  // The bias is free, so it drops out of centred rows: b = E[t] - M^T E[u].
  Eigen::RowVectorXd mean_u = u.colwise().mean(), mean_t = t.colwise().mean();
  if (!bias) mean_u.setZero(), mean_t.setZero();
  u.rowwise() -= mean_u;
  t.rowwise() -= mean_t;
  const auto m0 = view(start).topRows(inputs);
  Eigen::MatrixXd kernel = u * u.transpose();
  kernel.diagonal().array() += d * count;
  Matrix result(inputs + 1, outputs);
  auto m = view(result);
  m.topRows(inputs) = m0 + u.transpose() * kernel.llt().solve(t - u * m0);
  m.row(inputs) = mean_t - mean_u * m.topRows(inputs);
  return result;
}

std::vector<float> predict(const SampleRows& rows, const std::vector<Matrix>& m) {
  const int64_t inputs = m[0].rows - 1, outputs = m[0].cols;
  const int64_t width = inputs * static_cast<int64_t>(m.size());
  const int64_t wide = outputs * static_cast<int64_t>(m.size());
  std::vector<float> result(static_cast<size_t>(rows.rows * wide));
  for (size_t g = 0; g < m.size(); ++g) {
    std::vector<float> weights(m[g].data.size());
    std::ranges::transform(m[g].data, weights.begin(),
                           [](double x) { return static_cast<float>(x); });
    const auto group = static_cast<int64_t>(g);
    float* y = result.data() + group * outputs;
    for (int64_t r = 0; r < rows.rows; ++r)
      std::copy_n(weights.data() + inputs * outputs, outputs, y + r * wide);
    gemm(Transpose::kNo, Transpose::kNo, rows.rows, outputs, inputs,
         rows.patches.data() + group * inputs, width, weights.data(), outputs, 1.0f, y, wide);
  }
  return result;
}

double residual(const Matrix& h, const Matrix& g, double energy, const Matrix& m) {
  const auto mv = view(m);
  return energy - 2 * mv.cwiseProduct(view(g)).sum() + mv.cwiseProduct(view(h) * mv).sum();
}

}  // namespace pare
