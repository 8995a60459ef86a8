#include "cost/cost.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "cost/storage.h"
#include "cost/traffic.h"

namespace pare {
namespace {

constexpr double kPico = 1e-12;

uint64_t elements(const TensorType& type) {
  return type.known() ? static_cast<uint64_t>(element_count(type.shape)) : 0;
}

/// Counts work, then energy; one object a call of estimate_cost().
class Estimator {
 public:
  Estimator(const Graph& graph, const CostOptions& options)
      : graph_(graph), options_(options), storage_(graph), counted_(graph.value_count()) {
    traffic_ = activation_traffic(graph, storage_, [&](DType dtype) { return bits(dtype); });
  }

  Cost run() {
    const std::vector<NodeId>& order = graph_.order();
    uint64_t weight_bytes = 0;
    for (size_t i = 0; i < order.size(); ++i) {
      cost_.layers.push_back(count(i));
      weight_bytes += cost_.layers.back().cost.weight_bytes;
    }
    place(weight_bytes);
    for (size_t i = 0; i < order.size(); ++i) {
      charge(i);
      cost_.totals += cost_.layers[i].cost;
    }
    for (uint64_t alive : traffic_.live)
      cost_.peak_activation_bytes = std::max(cost_.peak_activation_bytes, alive);
    return std::move(cost_);
  }

 private:
  Precision precision(DType dtype) const {
    const Precision own = Precision::of(dtype);
    return own.floating && options_.precision ? *options_.precision : own;
  }
  uint64_t bits(DType dtype) const { return static_cast<uint64_t>(precision(dtype).bits); }

  LayerCost count(size_t position) {
    const NodeId id = graph_.order()[position];
    const Node& node = graph_.node(id);
    LayerCost layer{.node = id, .free = storage_.free(id)};
    if (layer.free) return layer;
    set_types(node, layer);
    count_work(node, layer);
    count_weights(node, layer.cost);
    const NodeBuffers& moved = traffic_.nodes[position];
    for (const auto* buffers : {&moved.reads, &moved.writes})
      for (uint32_t buffer : *buffers) layer.cost.activation_bytes += traffic_.bytes[buffer];
    return layer;
  }

  void set_types(const Node& node, LayerCost& layer) const {
    const auto type = [&](size_t slot) {
      const ValueId source = storage_.source(layer.node, node.inputs[slot]);
      return storage_.integer(layer.node) ? storage_.dtype(source) : graph_.type(source).dtype;
    };
    if (node.has_input(0)) layer.activation_type = type(0);
    if (storage_.fused(layer.node)) layer.activation_type = storage_.dtype(node.outputs[0]);
    if (!is_weighted(node) || !node.has_input(weight_slot(node))) return;
    layer.weight_type = type(weight_slot(node));
    const Tensor* weights =
        graph_.constant(storage_.source(layer.node, node.inputs[weight_slot(node)]));
    if (weights && is_integer(weights->dtype())) layer.weight_bits = needed_bits(*weights);
  }

  void count_work(const Node& node, LayerCost& layer) {
    if (!node.def) {
      cost_.uncosted.push_back(layer.node);
      return;
    }
    if (!node.def->macs && !node.def->other_ops) return;
    const std::vector<Operand> operands = graph_.operands(node);
    const std::vector<TensorType> outputs = graph_.output_types(node);
    const bool known =
        std::ranges::all_of(operands, [](const Operand& x) { return !x || x.type->known(); }) &&
        std::ranges::all_of(node.outputs,
                            [&](ValueId x) { return x == kNoValue || graph_.type(x).known(); });
    if (!known) {
      cost_.uncosted.push_back(layer.node);
      return;
    }
    if (node.def->macs) layer.cost.macs = node.def->macs(node, operands, outputs);
    if (node.def->other_ops) layer.cost.other_ops = node.def->other_ops(node, operands, outputs);
  }

  /// Adds the constants behind the operands of `node`, also through nodes that are folded.
  void count_weights(const Node& node, CostTotals& cost) {
    std::vector<const Node*> pending{&node};
    while (!pending.empty()) {
      const Node& user = *pending.back();
      pending.pop_back();
      for (size_t slot = 0; slot < user.inputs.size(); ++slot) {
        const ValueId id = user.inputs[slot];
        if (id == kNoValue || counted_[index(id)] || !storage_.constant(id) ||
            !holds_weights(user, slot))
          continue;
        counted_[index(id)] = true;
        const Value& value = graph_.value(id);
        if (is_parameter(value, user)) {
          cost.parameters += elements(value.type);
          cost.weight_bytes += (elements(value.type) * stored_bits(value) + 7) / 8;
        } else if (value.producer) {
          pending.push_back(&graph_.node(*value.producer));
        }
      }
    }
  }

  /// Bits of each element of a parameter.
  uint64_t stored_bits(const Value& value) const {
    return value.constant && is_integer(value.type.dtype)
               ? static_cast<uint64_t>(needed_bits(*value.constant))
               : bits(value.type.dtype);
  }

  /// Whether a value known beforehand is stored as weights: floats, integers of 8 bits or fewer,
  /// and int32 biases of quantized ops; no scalars (a Clip bound, a divisor) and no shapes.
  bool is_parameter(const Value& value, const Node& user) const {
    const bool stored =
        value.constant || (value.producer && graph_.node(*value.producer).op == "Constant");
    if (!stored || !value.type.ranked || value.type.shape.empty()) return false;
    const DType dtype = value.type.dtype;
    if (dtype == DType::kI32)
      return user.op == "DequantizeLinear" || user.op == "QLinearConv" || user.op == "QGemm";
    return Precision::of(dtype).bits <= 8 ? dtype != DType::kBool && bit_width(dtype) > 0
                                          : is_float(dtype);
  }

  /// Decides what stays on the chip: the weights too if that saves DRAM traffic in sum.
  void place(uint64_t weight_bytes) {
    const uint64_t buffer = options_.buffer_bytes, room = buffer - std::min(buffer, kTileBytes);
    const std::vector<bool> beside_nothing = traffic_.spilled(room);
    resident_ = false;
    spilled_ = beside_nothing;
    if (weight_bytes > room) return;
    const std::vector<bool> beside_weights = traffic_.spilled(room - weight_bytes);
    const uint64_t saved = per_image(weight_bytes);
    if (moved_bytes(beside_weights) > moved_bytes(beside_nothing) + saved) return;
    resident_ = true;
    spilled_ = beside_weights;
  }

  uint64_t moved_bytes(const std::vector<bool>& spilled) const {
    uint64_t bytes = 0;
    for (size_t i = 0; i < traffic_.nodes.size(); ++i) bytes += moved_bytes(i, spilled);
    return bytes;
  }

  uint64_t moved_bytes(size_t position, const std::vector<bool>& spilled) const {
    uint64_t bytes = 0;
    const NodeBuffers& moved = traffic_.nodes[position];
    for (const auto* buffers : {&moved.reads, &moved.writes})
      for (uint32_t buffer : *buffers)
        if (spilled[buffer]) bytes += traffic_.bytes[buffer];
    return bytes;
  }

  uint64_t per_image(uint64_t bytes) const {
    return bytes / static_cast<uint64_t>(std::max<int64_t>(1, options_.batch));
  }

  void charge(size_t position) {
    LayerCost& layer = cost_.layers[position];
    if (layer.free) return;
    CostTotals& cost = layer.cost;
    const EnergyTable& table = options_.table;
    const Precision a = precision(layer.activation_type);
    Precision b = precision(layer.weight_type);
    if (layer.weight_bits > 0) b.bits = layer.weight_bits;
    cost.mac_joules = pare::mac_joules(table, cost.macs, a, b, options_.convention);
    cost.dram_bytes =
        moved_bytes(position, spilled_) + (resident_ ? 0 : per_image(cost.weight_bytes));
    if (options_.convention == Convention::kArticle) return;
    // Biases are added to the 32-bit accumulators of an integer op.
    const bool accumulates = is_weighted(graph_.node(layer.node)) && !a.floating;
    cost.other_joules = kPico * static_cast<double>(cost.other_ops) *
                        table.op_pj(accumulates ? Precision{false, 32} : a);
    cost.on_chip_joules = on_chip_joules(layer, a, b);
    cost.dram_joules = pare::dram_joules(table, cost.dram_bytes);
  }

  /// Weights, inputs and outputs cross the buffer once; the two operands of every MAC come from the
  /// tile's own memory, one fetch serving at most kTileSide MACs and each element fetched once at
  /// least. Sums stay in the array until they are done.
  double on_chip_joules(const LayerCost& layer, Precision a, Precision b) const {
    const EnergyTable& table = options_.table;
    const auto crossing =
        static_cast<double>(layer.cost.weight_bytes + layer.cost.activation_bytes);
    double pj = crossing * table.sram_pj_per_byte(options_.buffer_bytes);
    if (layer.cost.macs > 0) {
      const Node& node = graph_.node(layer.node);
      const std::array<std::pair<size_t, Precision>, 2> operands = {
          {{0, a}, {weight_slot(node), b}}};
      for (const auto& [slot, format] : operands) {
        const uint64_t size = node.has_input(slot) ? elements(graph_.type(node.inputs[slot])) : 0;
        const uint64_t fetches = std::max(size, layer.cost.macs / kTileSide);
        pj += static_cast<double>(fetches) * format.bits / 8.0 * table.sram_pj_per_byte(kTileBytes);
      }
    }
    return kPico * pj;
  }

  const Graph& graph_;
  const CostOptions& options_;
  const Storage storage_;
  ActivationTraffic traffic_;
  std::vector<bool> counted_;
  std::vector<bool> spilled_;
  bool resident_ = false;
  Cost cost_;
};

}  // namespace

CostTotals& CostTotals::operator+=(const CostTotals& other) {
  macs += other.macs;
  other_ops += other.other_ops;
  parameters += other.parameters;
  weight_bytes += other.weight_bytes;
  activation_bytes += other.activation_bytes;
  dram_bytes += other.dram_bytes;
  mac_joules += other.mac_joules;
  other_joules += other.other_joules;
  on_chip_joules += other.on_chip_joules;
  dram_joules += other.dram_joules;
  return *this;
}

std::string weight_precision(const LayerCost& layer) {
  if (layer.weight_bits > 0 && layer.weight_bits < 8)
    return "i" + std::to_string(layer.weight_bits);
  return std::string(to_string(layer.weight_type));
}

double mac_joules(const EnergyTable& table, uint64_t macs, Precision a, Precision b,
                  Convention convention) {
  return kPico * static_cast<double>(macs) * table.mac_pj(a, b, convention);
}

double dram_joules(const EnergyTable& table, uint64_t bytes) {
  return kPico * static_cast<double>(bytes) * table.dram_pj_per_byte;
}

std::string describe(const CostOptions& options) {
  std::string text = "energy estimated with table " + options.table.name + ", convention " +
                     std::string(to_string(options.convention));
  if (options.precision) text += ", as if every float were " + to_string(*options.precision);
  if (options.convention == Convention::kArticle)
    return text + " (multiply plus add per operation, no memory)";
  char buffer[160];
  std::snprintf(buffer, sizeof buffer,
                ", %llu KiB on-chip buffer, output-stationary tiles of %llu x %llu, batch %lld",
                static_cast<unsigned long long>(options.buffer_bytes >> 10),
                static_cast<unsigned long long>(kTileSide),
                static_cast<unsigned long long>(kTileSide), static_cast<long long>(options.batch));
  return text + buffer;
}

Cost estimate_cost(const Graph& graph, const CostOptions& options) {
  return Estimator(graph, options).run();
}

}  // namespace pare
