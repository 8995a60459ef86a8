#include "calib/first_moments.h"

#include <algorithm>
#include <cstddef>

#include "support/parallel.h"

namespace pare {
namespace {

void add_columns(const std::vector<float>& rows, std::vector<double>& sums,
                 std::vector<double>& squares) {
  const size_t width = sums.size();
  for (size_t start = 0; start < rows.size(); start += width) {
    for (size_t i = 0; i < width; ++i) {
      const auto x = static_cast<double>(rows[start + i]);
      sums[i] += x;
      squares[i] += x * x;
    }
  }
}

void add_all(const std::vector<double>& from, std::vector<double>& to) {
  for (size_t i = 0; i < to.size(); ++i) to[i] += from[i];
}

}  // namespace

FirstMoments::FirstMoments(const GramShape& shape)
    : inputs_(static_cast<size_t>(shape.inputs)),
      outputs_(static_cast<size_t>(shape.outputs)),
      u_(static_cast<size_t>(shape.groups) * inputs_),
      uu_(u_.size()),
      t_(static_cast<size_t>(shape.groups) * outputs_),
      tt_(t_.size()) {}

void FirstMoments::add(const SampleRows& rows) {
  count_ += static_cast<double>(rows.rows);
  add_columns(rows.patches, u_, uu_);
  add_columns(rows.targets, t_, tt_);
}

void FirstMoments::add(const FirstMoments& other) {
  count_ += other.count_;
  add_all(other.u_, u_);
  add_all(other.uu_, uu_);
  add_all(other.t_, t_);
  add_all(other.tt_, tt_);
}

double FirstMoments::mean_input(size_t group, int64_t input) const {
  return u_[group * inputs_ + static_cast<size_t>(input)] / count_;
}

double FirstMoments::mean_target(size_t group, int64_t output) const {
  return t_[group * outputs_ + static_cast<size_t>(output)] / count_;
}

std::vector<double> FirstMoments::energies(size_t group, bool centred) const {
  std::vector<double> result;
  for (size_t i = group * inputs_; i < (group + 1) * inputs_; ++i) {
    const double mean = centred ? u_[i] / count_ : 0.0;
    result.push_back(uu_[i] / count_ - mean * mean);
  }
  return result;
}

double FirstMoments::signal() const {
  double result = 0;
  for (size_t o = 0; o < t_.size(); ++o) result += (tt_[o] - t_[o] * t_[o] / count_) / count_;
  return std::max(result, 0.0);
}

FirstMoments gather_first_moments(const GramShape& shape, int threads, const FillRows& fill) {
  std::vector<FirstMoments> parts(static_cast<size_t>(shape.chunks), FirstMoments(shape));
  parallel_for(shape.chunks, threads, [&](int64_t chunk) {
    SampleRows rows;
    fill(chunk, rows);
    parts[static_cast<size_t>(chunk)].add(rows);
  });
  FirstMoments sums(shape);
  for (const FirstMoments& part : parts) sums.add(part);
  return sums;
}

}  // namespace pare
