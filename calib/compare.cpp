#include "calib/compare.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

namespace pare {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
/// How far the sum of a float distribution may be from 1.
constexpr double kSumTolerance = 1e-3;
/// Probabilities below this count as this, so that a zero costs much, not infinity.
constexpr double kSmallest = 1e-12;

std::vector<double> to_double(const Tensor& tensor) {
  const Tensor wide = cast(tensor, DType::kF64);
  const std::span<const double> elements = wide.data<double>();
  return {elements.begin(), elements.end()};
}

/// |a - b|; values that are not finite differ infinitely unless they are the same.
double distance(double a, double b) {
  if (a == b || (std::isnan(a) && std::isnan(b))) return 0;
  const double difference = std::abs(a - b);
  return std::isnan(difference) ? kInfinity : difference;
}

struct Sums {
  double error = 0, reference = 0, output = 0, product = 0;  ///< Of squares; of products.
  double largest_error = 0, largest_reference = 0;

  void add(double a, double b) {
    const double d = distance(a, b);
    largest_error = std::max(largest_error, d);
    error += d * d;
    if (!std::isfinite(a) || !std::isfinite(b)) return;
    largest_reference = std::max(largest_reference, std::abs(a));
    reference += a * a;
    output += b * b;
    product += a * b;
  }
};

/// Natural logarithms of the probabilities of a row; stable for any logits.
void log_softmax(std::span<double> row) {
  const double top = *std::ranges::max_element(row);
  double sum = 0;
  for (const double x : row) sum += std::exp(x - top);
  const double shift = top + std::log(sum);
  for (double& x : row) x -= shift;
}

void log_probabilities(std::span<double> row) {
  for (double& x : row) x = std::log(std::max(x, kSmallest));
}

bool is_distribution(std::span<const double> values, size_t width) {
  for (size_t begin = 0; begin < values.size(); begin += width) {
    double sum = 0;
    for (const double x : values.subspan(begin, width)) {
      if (!(x >= 0)) return false;
      sum += x;
    }
    if (!(std::abs(sum - 1) <= kSumTolerance)) return false;
  }
  return true;
}

/// Agreement and KL over rows of `width` classes; overwrites its arguments.
void compare_rows(std::vector<double>& reference, std::vector<double>& output, size_t width,
                  Comparison& result) {
  const bool distribution = is_distribution(reference, width);
  const size_t count = reference.size() / width;
  size_t agreed = 0;
  double kl = 0;
  for (size_t r = 0; r < count; ++r) {
    const std::span<double> p = std::span(reference).subspan(r * width, width);
    const std::span<double> q = std::span(output).subspan(r * width, width);
    agreed += std::ranges::max_element(p) - p.begin() == std::ranges::max_element(q) - q.begin();
    distribution ? log_probabilities(p) : log_softmax(p);
    distribution ? log_probabilities(q) : log_softmax(q);
    for (size_t i = 0; i < width; ++i) kl += std::exp(p[i]) * (p[i] - q[i]);
  }
  result.agreement = static_cast<double>(agreed) / static_cast<double>(count);
  // Rounding can leave a hair below zero where the two are the same.
  result.kl = std::max(kl / static_cast<double>(count), 0.0);
}

bool has_classes(const Tensor& output) {
  return is_float(output.dtype()) && !output.shape().empty() && output.shape().back() >= 2 &&
         output.size() > 0;
}

void check_shapes(std::span<const Tensor> reference, std::span<const Tensor> outputs) {
  if (reference.size() != outputs.size())
    throw Error(ErrorKind::kInput, "there are " + std::to_string(outputs.size()) +
                                       " outputs, the reference has " +
                                       std::to_string(reference.size()));
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (reference[i].shape() != outputs[i].shape())
      throw Error(ErrorKind::kInput, "output " + std::to_string(i) + " is " +
                                         to_string(outputs[i].shape()) + ", the reference's is " +
                                         to_string(reference[i].shape()));
  }
}

}  // namespace

Comparison compare_outputs(std::span<const Tensor> reference, std::span<const Tensor> outputs) {
  check_shapes(reference, outputs);
  Comparison result;
  Sums sums;
  bool classified = false;
  size_t chosen = 0, agreed = 0;  // Elements of outputs that hold classes, not scores.
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (reference[i].dtype() == DType::kString || outputs[i].dtype() == DType::kString) continue;
    std::vector<double> a = to_double(reference[i]), b = to_double(outputs[i]);
    for (size_t k = 0; k < a.size(); ++k) sums.add(a[k], b[k]);
    if (is_integer(reference[i].dtype())) {
      chosen += a.size();
      for (size_t k = 0; k < a.size(); ++k) agreed += a[k] == b[k];
    }
    if (classified || !has_classes(reference[i])) continue;
    classified = true;
    compare_rows(a, b, static_cast<size_t>(reference[i].shape().back()), result);
  }
  if (!classified && chosen > 0)
    result.agreement = static_cast<double>(agreed) / static_cast<double>(chosen);
  if (!reference.empty() && !reference[0].shape().empty()) result.samples = reference[0].shape()[0];
  result.max_abs_error = sums.largest_error;
  if (sums.largest_error > 0)
    result.max_relative_error =
        sums.largest_reference > 0 ? sums.largest_error / sums.largest_reference : kInfinity;
  result.sqnr_db = sums.error > 0 ? 10 * std::log10(sums.reference / sums.error) : kInfinity;
  if (sums.reference > 0 || sums.output > 0)
    result.cosine = sums.reference > 0 && sums.output > 0
                        ? sums.product / std::sqrt(sums.reference * sums.output)
                        : 0;
  return result;
}

}  // namespace pare
