// Solves run on the calling thread, so that results do not depend on the number of threads.
#define EIGEN_DONT_PARALLELIZE

#include "calib/gram.h"

#include <Eigen/Dense>
#include <algorithm>
#include <functional>
#include <numeric>
#include <optional>
#include <span>

#include "support/parallel.h"
#include "tensor/gemm.h"

namespace pare {
namespace {

using RowMajor = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

Eigen::Map<const RowMajor> view(const Matrix& m) { return {m.data.data(), m.rows, m.cols}; }
Eigen::Map<RowMajor> view(Matrix& m) { return {m.data.data(), m.rows, m.cols}; }

/// Below this width a call of gemm costs more than the multiplications.
constexpr int64_t kSmall = 24;
/// Columns of H or G computed at a time; what lies below the diagonal blocks of H is mirrored.
constexpr int64_t kBlock = 192;
/// Chunks whose sums are float, unless their rows would take more than kMostRows [bytes] where a
/// chunk has kUsualRows.
constexpr int64_t kMostChunks = 8, kMostRows = int64_t{64} << 20, kUsualRows = 512;

/// C [m, n] += A^T B of a row-major A [rows, m] and B [rows, n] with row strides.
void add_transposed_product(int64_t rows, int64_t m, int64_t n, const float* a, int64_t lda,
                            const float* b, int64_t ldb, float* c) {
  if (m > kSmall || n > kSmall) {
    gemm(Transpose::kYes, Transpose::kNo, m, n, rows, a, lda, b, ldb, 1.0f, c, n);
    return;
  }
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t i = 0; i < m; ++i) {
      const float x = a[r * lda + i];
      for (int64_t j = 0; j < n; ++j) c[i * n + j] += x * b[r * ldb + j];
    }
  }
}

/// Rows of one chunk and what is summed over them in double.
struct Chunk {
  SampleRows rows;
  std::vector<double> sum_u, sum_t;  ///< [groups * inputs], [groups * outputs]
  std::vector<double> energy;        ///< [groups]
};

std::vector<double> column_sums(int64_t rows, int64_t width, const std::vector<float>& a) {
  std::vector<double> sums(static_cast<size_t>(width));
  for (int64_t r = 0; r < rows; ++r) {
    const float* row = a.data() + r * width;
    for (int64_t j = 0; j < width; ++j) sums[static_cast<size_t>(j)] += static_cast<double>(row[j]);
  }
  return sums;
}

void sum_up(const GramShape& s, bool with_h, Chunk& chunk) {
  const SampleRows& rows = chunk.rows;
  if (with_h) chunk.sum_u = column_sums(rows.rows, s.groups * s.inputs, rows.patches);
  chunk.sum_t = column_sums(rows.rows, s.groups * s.outputs, rows.targets);
  chunk.energy.assign(static_cast<size_t>(s.groups), 0.0);
  const float* t = rows.targets.data();
  for (int64_t r = 0; r < rows.rows; ++r) {
    for (double& energy : chunk.energy) {
      for (const float* end = t + s.outputs; t != end; ++t)
        energy += static_cast<double>(*t) * static_cast<double>(*t);
    }
  }
}

void add_sums(const GramShape& s, bool with_h, const Chunk& chunk, Gram& total) {
  total.rows += chunk.rows.rows;
  for (int64_t g = 0; g < s.groups; ++g) {
    const auto group = static_cast<size_t>(g);
    for (int64_t o = 0; o < s.outputs; ++o)
      total.g[group].row(s.inputs)[o] += chunk.sum_t[static_cast<size_t>(g * s.outputs + o)];
    total.energy[group] += chunk.energy[group];
    for (int64_t i = 0; with_h && i < s.inputs; ++i)
      total.h[group].row(i)[s.inputs] += chunk.sum_u[static_cast<size_t>(g * s.inputs + i)];
  }
}

/// What is taken off all inputs before products are summed in float, so that little of a variance
/// is lost beside a large mean (channels that saturate): about their means, by column.
std::vector<float> shift_of(const Chunk& chunk) {
  std::vector<float> shift;
  const auto rows = static_cast<double>(std::max<int64_t>(1, chunk.rows.rows));
  for (const double sum : chunk.sum_u) shift.push_back(static_cast<float>(sum / rows));
  return shift;
}

void take_off(const std::vector<float>& shift, SampleRows& rows) {
  for (size_t i = 0; i < rows.patches.size(); i += shift.size()) {
    for (size_t j = 0; j < shift.size(); ++j) rows.patches[i + j] -= shift[j];
  }
}

/// Columns [first, first + width) of a group's H down to the diagonal, or of its G.
struct Block {
  bool of_h;
  int64_t group, first, width;
};

std::vector<Block> blocks(const GramShape& s, bool with_h) {
  std::vector<Block> result;
  for (int64_t g = 0; g < s.groups; ++g) {
    for (int64_t j = 0; with_h && j < s.inputs; j += kBlock)
      result.push_back({true, g, j, std::min(kBlock, s.inputs - j)});
    for (int64_t j = 0; j < s.outputs; j += kBlock)
      result.push_back({false, g, j, std::min(kBlock, s.outputs - j)});
  }
  // The highest first, so that threads end together.
  std::ranges::stable_sort(result, std::greater(), [&](const Block& block) {
    return block.of_h ? block.first + block.width : s.inputs;
  });
  return result;
}

/// Adds the products of all rows, summed in float, to the block.
void add_products(const GramShape& s, const Block& block, std::span<const Chunk> chunks,
                  Gram& total) {
  const int64_t width = s.groups * s.inputs;
  const int64_t height = block.of_h ? block.first + block.width : s.inputs;
  std::vector<float> sum(static_cast<size_t>(height * block.width));
  for (const Chunk& chunk : chunks) {
    const float* u = chunk.rows.patches.data() + block.group * s.inputs;
    const float* right = block.of_h ? u : chunk.rows.targets.data() + block.group * s.outputs;
    add_transposed_product(chunk.rows.rows, height, block.width, u, width, right + block.first,
                           block.of_h ? width : s.groups * s.outputs, sum.data());
  }
  Matrix& matrix = (block.of_h ? total.h : total.g)[static_cast<size_t>(block.group)];
  for (int64_t i = 0; i < height; ++i) {
    const float* from = sum.data() + i * block.width;
    double* to = matrix.row(i) + block.first;
    const int64_t diagonal = block.of_h ? std::max<int64_t>(0, i - block.first) : 0;
    for (int64_t j = diagonal; j < block.width; ++j) to[j] += static_cast<double>(from[j]);
  }
}

/// Copies what is above the diagonal below it, by tiles that fit the cache.
void mirror(Matrix& square) {
  constexpr int64_t kTile = 32;
  for (int64_t top = 0; top < square.rows; top += kTile) {
    for (int64_t left = 0; left <= top; left += kTile) {
      for (int64_t i = top; i < std::min(top + kTile, square.rows); ++i) {
        for (int64_t j = left; j < std::min(left + kTile, i); ++j)
          square.row(i)[j] = square.row(j)[i];
      }
    }
  }
}

/// Moments of u from those of u - c, with m = E[u]:
///   E[u u^T] = E[(u - c) (u - c)^T] + c m^T + m c^T - c c^T     E[u t^T] = E[(u - c) t^T] + c
///   E[t]^T
void put_back(const GramShape& s, size_t g, const float* c, Gram& total) {
  Matrix &h = total.h[g], &moments = total.g[g];
  for (int64_t i = 0; i < s.inputs; ++i) {
    const double own = static_cast<double>(c[i]), mean = h.row(i)[s.inputs];
    for (int64_t j = i; j < s.inputs; ++j) {
      const double other = static_cast<double>(c[j]);
      h.row(i)[j] += own * h.row(j)[s.inputs] + mean * other - own * other;
    }
    for (int64_t o = 0; o < s.outputs; ++o) moments.row(i)[o] += own * moments.row(s.inputs)[o];
  }
}

/// Divides by the rows, puts back what was taken off and mirrors H.
void finish(const GramShape& s, const std::vector<float>& shift, bool with_h, Gram& total) {
  const double scale = 1.0 / static_cast<double>(std::max<int64_t>(1, total.rows));
  for (size_t g = 0; g < total.g.size(); ++g) {
    for (double& x : total.g[g].data) x *= scale;
    total.energy[g] *= scale;
    if (!with_h) continue;
    Matrix& h = total.h[g];
    h.row(s.inputs)[s.inputs] = static_cast<double>(total.rows);
    for (int64_t i = 0; i <= s.inputs; ++i) {
      for (int64_t j = i; j <= s.inputs; ++j) h.row(i)[j] *= scale;
    }
    put_back(s, g, shift.data() + g * static_cast<size_t>(s.inputs), total);
    mirror(h);
  }
}

Gram gather(const GramShape& s, int threads, const FillRows& fill, bool with_h) {
  Gram total;
  for (int64_t g = 0; g < s.groups; ++g) {
    if (with_h) total.h.emplace_back(s.inputs + 1, s.inputs + 1);
    total.g.emplace_back(s.inputs + 1, s.outputs);
  }
  total.energy.assign(static_cast<size_t>(s.groups), 0.0);
  // Chunks are summed up in waves whose size does not depend on the number of threads.
  const int64_t row = 4 * s.groups * (s.inputs + s.outputs);
  std::vector<Chunk> wave(static_cast<size_t>(
      std::clamp<int64_t>(kMostRows / (kUsualRows * std::max<int64_t>(1, row)), 1, kMostChunks)));
  const std::vector<Block> all = blocks(s, with_h);
  std::vector<float> shift(static_cast<size_t>(s.groups * s.inputs));
  for (int64_t first = 0; first < s.chunks; first += std::ssize(wave)) {
    const std::span<Chunk> chunks =
        std::span(wave).first(static_cast<size_t>(std::min(std::ssize(wave), s.chunks - first)));
    parallel_for(std::ssize(chunks), threads, [&](int64_t i) {
      Chunk& chunk = chunks[static_cast<size_t>(i)];
      fill(first + i, chunk.rows);
      sum_up(s, with_h, chunk);
    });
    if (with_h && first == 0) shift = shift_of(chunks[0]);
    if (with_h)
      parallel_for(std::ssize(chunks), threads,
                   [&](int64_t i) { take_off(shift, chunks[static_cast<size_t>(i)].rows); });
    for (const Chunk& chunk : chunks) add_sums(s, with_h, chunk, total);
    parallel_for(std::ssize(all), threads,
                 [&](int64_t i) { add_products(s, all[static_cast<size_t>(i)], chunks, total); });
  }
  finish(s, shift, with_h, total);
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
