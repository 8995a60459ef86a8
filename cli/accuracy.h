#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace pare {

/// Shares of samples whose label is the best, or among the five best, of the scores.
struct Accuracy {
  double top1 = 0, top5 = 0;
};

/// `scores` is [N, C] with any number of extents of 1 besides; of equal scores the lower class
/// wins. `labels` are N classes in [0, C). Throws Error(kInput) naming the first label outside.
Accuracy measure_accuracy(const Tensor& scores, const std::vector<int64_t>& labels);

}  // namespace pare
