#include "passes/output_watch.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "calib/runner.h"

namespace pare {
namespace {

/// Share of the elements of an output of integers (an ArgMax) that rounding may tip over.
constexpr double kFlipped = 0.01;
/// Where a model rounds to integers, a difference of rounding becomes one of a whole step.
constexpr double kRoundingSlack = 50;

/// A node that keeps `graph` from being run, in words; empty when there is none.
std::string obstacle(const Graph& graph) {
  for (const NodeId id : graph.order()) {
    const Node& node = graph.node(id);
    if (!node.def || !node.def->eval) return describe(node) + " cannot be executed";
  }
  return {};
}

bool rounds(const Graph& graph) {
  return std::ranges::any_of(graph.order(), [&](NodeId id) {
    const std::string& op = graph.node(id).op;
    return op.starts_with("QLinear") || op.ends_with("QuantizeLinear");
  });
}

bool same_shapes(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  return std::ranges::equal(
      a, b, [](const Tensor& x, const Tensor& y) { return x.shape() == y.shape(); });
}

double share_of_differences(const Tensor& a, const Tensor& b) {
  const size_t step = element_size(a.dtype());
  if (step == 0 || a.size() == 0) return 0;
  int64_t differences = 0;
  for (size_t i = 0; i < a.bytes().size(); i += step)
    differences += !std::ranges::equal(a.bytes().subspan(i, step), b.bytes().subspan(i, step));
  return static_cast<double>(differences) / static_cast<double>(a.size());
}

std::string number(double x) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3g", x);
  return text;
}

}  // namespace

OutputWatch::OutputWatch(const Graph& graph, const PassContext& context, int64_t samples) {
  if (!context.data || samples <= 0) return;
  std::string reason = obstacle(graph);
  for (const int64_t batch : {int64_t{8}, int64_t{1}}) {
    if (!beginning_.empty() || !obstacle(graph).empty()) break;
    samples_ = context.data->spread(samples);
    batch_ = batch;
    try {
      beginning_ = outputs(graph, context);
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::kInterrupted) throw;
      reason = error.what();  // A model may well hold its batch of 1 in a Reshape: try that.
    }
  }
  before_ = now_ = beginning_;
  if (!beginning_.empty()) return;
  samples_.clear();
  context.warning("outputs are not compared around passes: " + reason);
}

std::vector<Tensor> OutputWatch::outputs(const Graph& graph, const PassContext& context) const {
  RunOptions options;
  options.threads = context.threads;
  options.batch = batch_;
  options.progress = context.progress;
  options.stage = "comparing outputs";
  return run_outputs(graph, *context.data, samples_, options);
}

std::optional<Comparison> OutputWatch::update(const Graph& graph, const PassContext& context) {
  if (samples_.empty()) return {};
  before_ = std::move(now_);
  now_ = outputs(graph, context);
  if (same_shapes(beginning_, now_)) return compare_outputs(beginning_, now_);
  beginning_ = now_;
  return {};
}

std::string OutputWatch::broken_promise(const Graph& graph, double tolerance) const {
  if (samples_.empty()) return {};
  if (rounds(graph)) tolerance *= kRoundingSlack;
  for (size_t i = 0; i < now_.size(); ++i) {
    const Tensor &a = before_[i], &b = now_[i];
    const std::string name = "output '" + graph.value(graph.outputs()[i]).name + "' ";
    if (a.type() != b.type())
      return name + "was " + to_string(a.type()) + " and became " + to_string(b.type());
    if (!is_float(a.dtype())) {
      const double flipped = share_of_differences(a, b);
      if (flipped > kFlipped)
        return name + "changed in " + number(100 * flipped) + " % of its elements";
      continue;
    }
    const Comparison result = compare_outputs(std::span(&a, 1), std::span(&b, 1));
    if (!(result.max_relative_error <= tolerance))
      return name + "changed by " + number(result.max_relative_error) +
             " of its largest value, at most " + number(tolerance) + " is rounding";
  }
  return {};
}

}  // namespace pare
