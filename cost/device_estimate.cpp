#include "cost/device_estimate.h"

#include <algorithm>
#include <optional>

#include "cost/storage.h"

namespace pare {
namespace {

/// A layer as the array sees it: `places` x `outputs` sums of `inputs` * `kernel` products, for
/// each of `groups`.
struct Form {
  uint64_t places = 0, inputs = 0, outputs = 0, kernel = 1, groups = 1;
};

uint64_t ceil_div(uint64_t a, int64_t b) {
  const auto divisor = static_cast<uint64_t>(b);
  return (a + divisor - 1) / divisor;
}

uint64_t spatial(const Shape& shape, size_t from) {
  uint64_t count = 1;
  for (size_t axis = from; axis < shape.size(); ++axis) count *= static_cast<uint64_t>(shape[axis]);
  return count;
}

Form convolution(const Graph& graph, const Node& node, bool transposed) {
  const Shape& w = graph.type(node.inputs[weight_slot(node)]).shape;
  // A transposed convolution multiplies at the places of its input.
  const Shape& moved = graph.type(transposed ? node.inputs[0] : node.outputs[0]).shape;
  const auto groups =
      static_cast<uint64_t>(std::max<int64_t>(1, node.attribute("group", int64_t{1})));
  const auto rows = static_cast<uint64_t>(w[0]), columns = static_cast<uint64_t>(w[1]);
  Form form{.places = static_cast<uint64_t>(moved[0]) * spatial(moved, 2),
            .inputs = columns,
            .outputs = rows / groups,
            .kernel = spatial(w, 2),
            .groups = groups};
  if (transposed) {
    form.inputs = rows / groups;
    form.outputs = columns;
  }
  return form;
}

/// Empty for a layer of another kind. The shapes of one with MACs are known.
std::optional<Form> form_of(const Graph& graph, const Node& node, uint64_t macs) {
  static constexpr std::string_view kConvolutions[] = {"Conv", "QLinearConv", "ConvInteger"};
  static constexpr std::string_view kProducts[] = {"Gemm", "MatMul", "QLinearMatMul",
                                                   "MatMulInteger", "QGemm"};
  if (std::ranges::find(kConvolutions, node.op) != std::end(kConvolutions))
    return convolution(graph, node, false);
  if (node.op == "ConvTranspose") return convolution(graph, node, true);
  if (std::ranges::find(kProducts, node.op) == std::end(kProducts)) return std::nullopt;
  const Shape& y = graph.type(node.outputs[0]).shape;
  const auto sums = static_cast<uint64_t>(element_count(y));
  if (sums == 0) return std::nullopt;
  const auto outputs = y.empty() ? 1 : static_cast<uint64_t>(y.back());
  return Form{.places = sums / outputs, .inputs = macs / sums, .outputs = outputs};
}

/// Cycles of a layer, and the products formed in them.
struct Work {
  uint64_t cycles = 0, products = 0;
};

Work work_of(const Form& form, const DeviceProfile::Array& array) {
  if (array.depthwise_channels > 0 && form.inputs == 1 && form.groups > 1) {
    const uint64_t cycles = ceil_div(form.places, array.depthwise_pixels) *
                            ceil_div(form.groups * form.outputs, array.depthwise_channels) *
                            form.kernel;
    return {cycles, cycles * static_cast<uint64_t>(array.depthwise_pixels) *
                        static_cast<uint64_t>(array.depthwise_channels)};
  }
  const uint64_t cycles = ceil_div(form.places, array.pixels) *
                          ceil_div(form.inputs, array.input_channels) *
                          ceil_div(form.outputs, array.output_channels) * form.kernel * form.groups;
  return {cycles, cycles * static_cast<uint64_t>(array.macs_per_cycle())};
}

double ratio(double part, double whole) { return whole > 0 ? part / whole : 0; }

Precision precision_of(DType dtype, const CostOptions& options) {
  const Precision own = Precision::of(dtype);
  return own.floating && options.precision ? *options.precision : own;
}

/// What traffic is counted under: the memory of `device`, and floats at its precision where it
/// multiplies none.
CostOptions options_on(const DeviceProfile& device) {
  CostOptions options;
  options.buffer_bytes = device.buffer_bytes;
  const bool floats = std::ranges::any_of(
      device.arrays, [](const DeviceProfile::Array& array) { return array.precision.floating; });
  if (!floats) options.precision = device.arrays[0].precision;
  return options;
}

}  // namespace

DeviceEstimate estimate_device(const Graph& graph, const DeviceProfile& device) {
  const CostOptions options = options_on(device);
  const Cost cost = estimate_cost(graph, options);
  const double bandwidth = device.dram_bytes_per_second / static_cast<double>(device.cores);
  DeviceEstimate estimate{.dram_bytes = cost.totals.dram_bytes};
  double seconds = 0, waiting = 0, possible = 0, products = 0;
  for (const LayerCost& layer : cost.layers) {
    DeviceLayer on{.node = layer.node, .macs = layer.cost.macs};
    on.dram_seconds = static_cast<double>(layer.cost.dram_bytes) / bandwidth;
    const DeviceProfile::Array& array = device.array_for(
        precision_of(layer.activation_type, options), precision_of(layer.weight_type, options));
    Work work;
    if (on.macs > 0) {
      const std::optional<Form> form = form_of(graph, graph.node(layer.node), on.macs);
      on.formless = !form;
      work =
          form ? work_of(*form, array) : Work{ceil_div(on.macs, array.macs_per_cycle()), on.macs};
    }
    on.cycles = work.cycles;
    on.array_seconds = static_cast<double>(on.cycles) / array.clock_hz;
    on.padding = 1 - ratio(static_cast<double>(on.macs), static_cast<double>(work.products));
    seconds += on.seconds();
    waiting += on.seconds() - on.array_seconds;
    possible += on.seconds() * array.clock_hz * static_cast<double>(array.macs_per_cycle());
    products += static_cast<double>(work.products);
    if (on.macs > 0) estimate.layers.push_back(on);
  }
  const auto macs = static_cast<double>(cost.totals.macs);
  estimate.frames_per_second = ratio(static_cast<double>(device.cores), seconds);
  estimate.utilisation = ratio(macs, possible);
  estimate.padding = products > 0 ? 1 - macs / products : 0;
  estimate.dram_share = ratio(waiting, seconds);
  return estimate;
}

}  // namespace pare
