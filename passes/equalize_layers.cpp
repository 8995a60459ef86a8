#include "passes/equalize_layers.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <map>

#include "calib/observer.h"
#include "calib/runner.h"
#include "config/options.h"
#include "exec/activation_pattern.h"
#include "passes/channel_weights.h"

namespace pare {
namespace {

/// f(s x) = s f(x) for s > 0, channel by channel.
constexpr std::array<std::string_view, 9> kHomogeneous = {
    "AveragePool",   "Dropout",  "GlobalAveragePool",
    "GlobalMaxPool", "Identity", "LeakyRelu",
    "MaxPool",       "PRelu",    "Relu"};

/// Sweeps over all pairs; they converge like a geometric series.
constexpr int kSweeps = 20;
/// Scales closer to one than this are not worth a change.
constexpr double kWorthwhile = 0.01;
/// No scale is farther from one: a channel that is all but dead stays one.
constexpr double kLargestScale = 1024;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// A reader of a layer's channels: input i of it is channel i / block.
struct Reader {
  NodeId node;
  size_t block;
};

/// A layer, all that reads it, and what its channels must stay below for that.
struct Link {
  NodeId source;
  std::vector<Reader> readers;
  double ceiling = kInfinity;
  Numbers scales;  ///< By channel, of all sweeps so far.
  Numbers seen;    ///< By channel, the most of it on the data, as it is now; empty if not measured.
};

/// Bounds of what a value's elements may be, from how it is made.
struct Bounds {
  double low = -kInfinity, high = kInfinity;
};

Bounds bounds_of(const Graph& graph, ValueId id) {
  const std::optional<NodeId> producer = graph.value(id).producer;
  if (!producer || !graph.node(*producer).def) return {};
  const Node& node = graph.node(*producer);
  if (node.op == "Clip") {
    const std::optional<Curve> clip = clip_curve(graph, node);
    return clip ? Bounds{static_cast<double>(clip->alpha), static_cast<double>(clip->beta)}
                : Bounds{};
  }
  if (node.op == "Sigmoid" || node.op == "HardSigmoid" || node.op == "Softmax") return {0, 1};
  const bool moves = node.def->quant == Quant::kPassThrough || node.op == "AveragePool" ||
                     node.op == "GlobalAveragePool";
  return moves && node.has_input(0) ? bounds_of(graph, node.inputs[0]) : Bounds{};
}

class Equalizer {
 public:
  explicit Equalizer(Graph& graph) : graph_(graph) {}

  /// Channels reach what they reach on `samples` of the data.
  void measure(const PassContext& context, int64_t samples) {
    measure_ = [&context, samples](Graph graph) {
      return run_outputs(std::move(graph), *context.data, context.data->spread(samples),
                         {.threads = context.threads,
                          .progress = context.progress,
                          .stage = "measuring channels"});
    };
  }

  PassStats run() {
    for (const NodeId id : graph_.order()) find_link(id);
    if (measure_) look_at_data();
    for (int sweep = 0; sweep < kSweeps; ++sweep) {
      bool moved = false;
      for (Link& link : links_) moved = balance(link) || moved;
      if (!moved) break;
    }
    return store();
  }

 private:
  /// A layer's numbers as they are so far.
  struct Layer {
    ChannelWeights channels;
    Numbers weights, bias;
  };

  Layer* layer(NodeId id) {
    const auto it = layers_.find(id);
    if (it != layers_.end()) return &it->second;
    const std::optional<ChannelWeights> channels = ChannelWeights::of(graph_, id);
    if (!channels || graph_.node(id).attribute("transA", int64_t{0}) != 0) return nullptr;
    Layer found{*channels, channels->weights(graph_), channels->bias(graph_)};
    const bool finite =
        std::ranges::all_of(found.weights, [](double x) { return std::isfinite(x); });
    return finite ? &layers_.emplace(id, std::move(found)).first->second : nullptr;
  }

  void find_link(NodeId id) {
    const Layer* source = layer(id);
    if (!source) return;
    Link link{.source = id,
              .readers = {},
              .scales = Numbers(static_cast<size_t>(source->channels.outputs), 1)};
    if (follow(graph_.node(id).outputs[0], source->channels.outputs, 1, link) &&
        !link.readers.empty())
      links_.push_back(std::move(link));
  }

  /// Collects what reads the channels of `value`; false where that is not layers alone.
  bool follow(ValueId value, int64_t channels, int64_t block, Link& link) {
    if (graph_.is_output(value) || !graph_.type(value).known()) return false;
    return std::ranges::all_of(graph_.value(value).uses, [&](const Use& use) {
      return use.slot == 0 && follow_into(use.node, value, channels, block, link);
    });
  }

  bool follow_into(NodeId id, ValueId value, int64_t channels, int64_t block, Link& link) {
    if (const Layer* reader = layer(id)) {
      if (reader->channels.inputs != channels * block) return false;
      link.readers.push_back({id, static_cast<size_t>(block)});
      return true;
    }
    const Node& node = graph_.node(id);
    if (!node.def || !node.domain.empty() || !node.has_output(0) || node.has_output(1))
      return false;
    if (node.op == "Clip") {
      const std::optional<Curve> clip = clip_curve(graph_, node);
      if (!clip || clip->alpha != 0.0f) return false;
      link.ceiling = std::min(link.ceiling, static_cast<double>(clip->beta));
    } else if (node.op == "Flatten" || node.op == "Reshape") {
      const Shape &from = graph_.shape(value), &to = graph_.type(node.outputs[0]).shape;
      if (to.size() != 2 || from.size() < 2 || to[0] != from[0] || block != 1) return false;
      block = to[1] / channels;
    } else if (std::ranges::find(kHomogeneous, node.op) == kHomogeneous.end()) {
      return false;
    }
    return follow(node.outputs[0], channels, block, link);
  }

  /// Fills Link::seen where a Clip is on the way.
  void look_at_data() {
    Graph probe = graph_;
    std::vector<Link*> clipped;
    std::vector<ValueId> largest;
    for (Link& link : links_) {
      if (link.ceiling == kInfinity) continue;
      const ValueId y = graph_.node(link.source).outputs[0];
      clipped.push_back(&link);
      largest.push_back(graph_.shape(y).size() > 2 ? probe.add_node("GlobalMaxPool", {y}) : y);
    }
    if (clipped.empty()) return;
    probe.set_outputs(largest);
    const std::vector<Tensor> results = measure_(std::move(probe));
    for (size_t i = 0; i < clipped.size(); ++i) {
      Numbers& seen = clipped[i]->seen;
      seen.assign(clipped[i]->scales.size(), 0);
      const std::span<const float> x = results[i].data<float>();
      for (size_t k = 0; k < x.size(); ++k)
        seen[k % seen.size()] = std::max(seen[k % seen.size()], static_cast<double>(x[k]));
    }
  }

  /// Largest weight of each output channel.
  Numbers reach_of_outputs(const Layer& source) const {
    Numbers reach(static_cast<size_t>(source.channels.outputs), 0);
    for_each(source, [&](size_t i, size_t, size_t output) {
      reach[output] = std::max(reach[output], std::abs(source.weights[i]));
    });
    return reach;
  }

  /// Largest weight that reads each of the source's channels.
  Numbers reach_of_inputs(const Link& link, size_t channels) {
    Numbers reach(channels, 0);
    for (const Reader& reader : link.readers) {
      const Layer& read = *layer(reader.node);
      for_each(read, [&](size_t i, size_t input, size_t) {
        double& most = reach[input / reader.block];
        most = std::max(most, std::abs(read.weights[i]));
      });
    }
    return reach;
  }

  /// The most each output channel can come to.
  Numbers most_of_outputs(const Layer& source) const {
    const Node& node = graph_.node(source.channels.node);
    const double alpha = node.op == "Gemm" ? node.attribute("alpha", 1.0f) : 1.0f;
    Bounds x = bounds_of(graph_, node.inputs[0]);
    x = {std::min(x.low, 0.0), std::max(x.high, 0.0)};  // Padding reads zeros.
    Numbers most = source.bias;
    for_each(source, [&](size_t i, size_t, size_t output) {
      const double w = alpha * source.weights[i];
      if (w != 0) most[output] += w > 0 ? w * x.high : w * x.low;
    });
    return most;
  }

  template <typename Body>
  void for_each(const Layer& layer, const Body& body) const {
    const Node& node = graph_.node(layer.channels.node);
    for_each_weight(node, graph_.shape(node.inputs[1]), body);
  }

  /// Scales the channels of one link; false when none was worth it.
  bool balance(Link& link) {
    Layer& source = *layer(link.source);
    const Numbers first = reach_of_outputs(source);
    const Numbers second = reach_of_inputs(link, first.size());
    const Numbers most = link.ceiling == kInfinity ? Numbers{}
                         : link.seen.empty()       ? most_of_outputs(source)
                                                   : link.seen;
    Numbers scales(first.size(), 1.0);
    bool moved = false;
    for (size_t c = 0; c < scales.size(); ++c) {
      if (!(first[c] > 0) || !(second[c] > 0)) continue;
      const double before = link.scales[c];
      double scale =
          std::clamp(before * std::sqrt(first[c] / second[c]), 1 / kLargestScale, kLargestScale) /
          before;
      if (!most.empty()) {
        if (!(most[c] <= link.ceiling)) continue;  // The Clip cuts it off, or may.
        scale = std::max(scale, most[c] / link.ceiling);
      }
      if (std::abs(std::log(scale)) < kWorthwhile) continue;
      scales[c] = scale;
      link.scales[c] *= scale;
      moved = true;
    }
    if (moved) apply(link, scales);
    return moved;
  }

  void apply(Link& link, const Numbers& scales) {
    Layer& source = *layer(link.source);
    for_each(source, [&](size_t i, size_t, size_t output) { source.weights[i] /= scales[output]; });
    for (size_t c = 0; c < scales.size(); ++c) source.bias[c] /= scales[c];
    for (size_t c = 0; c < link.seen.size(); ++c) link.seen[c] /= scales[c];
    changed_[link.source] = true;
    for (const Reader& reader : link.readers) {
      Layer& read = *layer(reader.node);
      for_each(read, [&](size_t i, size_t input, size_t) {
        read.weights[i] *= scales[input / reader.block];
      });
      changed_[reader.node] = true;
    }
  }

  PassStats store() {
    for (const auto& [id, changed] : changed_) {
      const Layer& result = layers_.at(id);
      result.channels.set(graph_, result.weights, result.bias);
    }
    graph_.infer_types();
    return {{"layers that feed layers alone", static_cast<int64_t>(links_.size())},
            {"layers equalized", static_cast<int64_t>(changed_.size())}};
  }

  Graph& graph_;
  std::function<std::vector<Tensor>(Graph)> measure_;  ///< Runs a graph on the data.
  std::map<NodeId, Layer> layers_;
  std::vector<Link> links_;
  std::map<NodeId, bool> changed_;
};

class EqualizeLayers final : public Pass {
 public:
  explicit EqualizeLayers(const EqualizeLayersOptions& options) : options_(options) {}
  std::string_view name() const override { return "equalize-layers"; }
  Effect effect() const override { return needs_data() ? Effect::kLossy : Effect::kExact; }
  bool needs_data() const override {
    return options_.reach == EqualizeLayersOptions::Reach::kMeasured;
  }
  PassStats run(Graph& graph, PassContext& context) override {
    Equalizer equalizer(graph);
    if (needs_data()) equalizer.measure(context, options_.samples);
    return equalizer.run();
  }

 private:
  EqualizeLayersOptions options_;
};

}  // namespace

EqualizeLayersOptions read_equalize_layers(Options& options) {
  EqualizeLayersOptions result;
  if (options.choice("reach", "proven", {"proven", "measured"}) == "measured")
    result.reach = EqualizeLayersOptions::Reach::kMeasured;
  result.samples = options.integer("samples", result.samples, 1, 1 << 20);
  return result;
}

std::unique_ptr<Pass> make_equalize_layers(const EqualizeLayersOptions& options) {
  return std::make_unique<EqualizeLayers>(options);
}

}  // namespace pare
