#pragma once

#include <cmath>

#include "ir/graph.h"

namespace pare {

/// Attribute `p` of LpPool, GlobalLpPool and LpNormalization: the norm (sum |x|^p)^(1/p).
class LpNorm {
 public:
  /// Throws Error(kInput) where p is not positive.
  explicit LpNorm(const Node& node);

  /// What one element adds to the sum.
  template <typename T>
  T power(T x) const {
    if (p_ == 2) return x * x;
    return p_ == 1 ? std::abs(x) : std::pow(std::abs(x), static_cast<T>(p_));
  }
  /// The norm for a sum of powers.
  template <typename T>
  T root(T sum) const {
    if (p_ == 2) return std::sqrt(sum);
    return p_ == 1 ? sum : std::pow(sum, static_cast<T>(1 / p_));
  }

 private:
  double p_;
};

/// `p` is a float in opset 1 and an integer from 2 on. Throws Error(kUnsupported) for one that is
/// no integer.
void upgrade_lp_norm(Graph& graph, NodeId id, int64_t target);

}  // namespace pare
