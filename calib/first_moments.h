#pragma once

#include <cstdint>
#include <vector>

#include "calib/gram.h"

namespace pare {

/// Means of the inputs, the targets and their squares of one weighted node, without their products:
/// takes one addition an element where Gram takes as many as there are inputs.
class FirstMoments {
 public:
  explicit FirstMoments(const GramShape& shape);

  void add(const SampleRows& rows);
  void add(const FirstMoments& other);

  double mean_input(size_t group, int64_t input) const;
  double mean_target(size_t group, int64_t output) const;
  /// Of the inputs of one group: variances where `centred`, else means of squares.
  std::vector<double> energies(size_t group, bool centred) const;
  /// Of the targets: E|t - E[t]|^2, over all groups.
  double signal() const;

 private:
  size_t inputs_, outputs_;  ///< Of a group.
  double count_ = 0;
  std::vector<double> u_, uu_, t_, tt_;  ///< Sums by column of SampleRows.
};

/// Bit-identical at any number of threads.
FirstMoments gather_first_moments(const GramShape& shape, int threads, const FillRows& fill);

}  // namespace pare
