#include "cli/accuracy.h"

#include <algorithm>

namespace pare {
namespace {

constexpr int64_t kTop = 5;

/// Classes that come before `label`: larger scores, equal ones of lower classes, and no numbers.
int64_t rank(std::span<const float> scores, size_t label) {
  int64_t before = 0;
  for (size_t c = 0; c < scores.size(); ++c) {
    const bool worse = scores[c] < scores[label] || (scores[c] == scores[label] && c >= label);
    before += c != label && !worse;
  }
  return before;
}

}  // namespace

Accuracy measure_accuracy(const Tensor& scores, const std::vector<int64_t>& labels) {
  const Tensor values = cast(scores, DType::kF32);
  const auto samples = static_cast<int64_t>(labels.size());
  const bool fits = !scores.shape().empty() && scores.shape()[0] == samples && samples > 0;
  const int64_t classes = fits ? scores.size() / samples : 0;
  const int64_t widest = fits && scores.shape().size() > 1
                             ? *std::max_element(scores.shape().begin() + 1, scores.shape().end())
                             : 0;
  if (classes < 2 || widest != classes)
    throw Error(ErrorKind::kInput, "the output is " + to_string(scores.shape()) +
                                       ", expected one row of class scores for each of " +
                                       std::to_string(samples) + " samples");
  int64_t best = 0, among = 0;
  for (int64_t i = 0; i < samples; ++i) {
    const int64_t label = labels[static_cast<size_t>(i)];
    if (label < 0 || label >= classes)
      throw Error(ErrorKind::kInput, "label " + std::to_string(label) + " of sample " +
                                         std::to_string(i) + " is no class of an output of " +
                                         std::to_string(classes) + " classes (--label-offset?)");
    const int64_t place = rank(values.data<float>().subspan(static_cast<size_t>(i * classes),
                                                            static_cast<size_t>(classes)),
                               static_cast<size_t>(label));
    best += place == 0;
    among += place < kTop;
  }
  const auto count = static_cast<double>(samples);
  return {.top1 = static_cast<double>(best) / count, .top5 = static_cast<double>(among) / count};
}

}  // namespace pare
