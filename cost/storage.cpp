#include "cost/storage.h"

#include <algorithm>
#include <array>

#include "cost/precision.h"

namespace pare {
namespace {

constexpr std::string_view kQuantize = "QuantizeLinear";
constexpr std::string_view kDequantize = "DequantizeLinear";
constexpr std::array<std::string_view, 6> kViews = {"Reshape",   "Flatten",  "Squeeze",
                                                    "Unsqueeze", "Identity", "Dropout"};

bool is(const Node& node, std::string_view op) {
  return node.def && node.domain.empty() && node.op == op;
}

template <typename List>
bool contains(const List& list, std::string_view op) {
  return std::ranges::find(list, op) != list.end();
}

}  // namespace

bool is_weighted(const Node& node) {
  return node.def && (node.def->macs || node.def->quant == Quant::kWeighted);
}

size_t weight_slot(const Node& node) {
  return node.op == "QLinearConv" || node.op == "QLinearMatMul" || node.op == "QGemm" ? 3 : 1;
}

int needed_bits(const Tensor& constant) {
  const DType dtype = constant.dtype();
  if (dtype != DType::kI8 && dtype != DType::kI4) return Precision::of(dtype).bits;
  const std::span<const int8_t> numbers = constant.data<int8_t>();
  // Zeros alone are weights that were never filled in, and say nothing of the width.
  if (std::ranges::all_of(numbers, [](int8_t q) { return q == 0; })) return bit_width(dtype);
  for (const int bits : {3, 4}) {
    const int half = 1 << (bits - 1);
    if (std::ranges::all_of(numbers, [&](int8_t q) { return q >= -half && q < half; })) return bits;
  }
  return bit_width(dtype);
}

bool holds_weights(const Node& node, size_t slot) {
  static constexpr std::array<std::string_view, 8> kFirstOnly = {
      kQuantize, kDequantize, "Resize", "Upsample", "Clip", "Pad", "Range", "OneHot"};
  if (slot == 0) return true;
  if (contains(kFirstOnly, node.op)) return false;
  if (node.op == "QLinearConv") return slot == 3 || slot == 8;
  if (node.op == "QLinearMatMul") return slot == 3;
  if (node.op == "QGemm") return slot == 3 || slot == 6;
  if (node.op == "ConvInteger" || node.op == "MatMulInteger") return slot == 1;
  return true;
}

Storage::Storage(const Graph& graph)
    : graph_(graph),
      constant_(graph.value_count()),
      free_(graph.node_count()),
      fused_(graph.node_count()),
      integer_(graph.node_count()),
      sets_(graph.value_count()) {
  find_constants();
  find_integer_nodes();
  find_free_nodes();
  share_buffers();
}

void Storage::find_constants() {
  for (uint32_t i = 0; i < graph_.value_count(); ++i) {
    const Value& value = graph_.value(ValueId{i});
    constant_[i] = value.constant || value.known;
  }
  const auto known = [&](ValueId id) { return id == kNoValue || constant(id); };
  for (NodeId id : graph_.order()) {
    const Node& node = graph_.node(id);
    if (!node.def) continue;
    const bool computable = !node.inputs.empty() || is(node, "Constant");
    if (computable && std::ranges::all_of(node.inputs, known)) {
      for (ValueId output : node.outputs)
        if (output != kNoValue) constant_[index(output)] = true;
    }
  }
}

std::optional<NodeId> Storage::dequantizer(ValueId id) const {
  for (;;) {
    if (id == kNoValue) return std::nullopt;
    const std::optional<NodeId> producer = graph_.value(id).producer;
    if (!producer) return std::nullopt;
    const Node& node = graph_.node(*producer);
    if (is(node, kDequantize)) return producer;
    // Weights may pass through a Transpose on their way; activations must come directly.
    if (!constant(id) || !node.def || node.def->quant != Quant::kPassThrough || node.inputs.empty())
      return std::nullopt;
    id = node.inputs[0];
  }
}

bool Storage::reads_integers(const Node& node) const {
  if (is_weighted(node)) {
    const size_t weight = weight_slot(node);
    return node.has_input(weight) && dequantizer(node.inputs[0]) &&
           dequantizer(node.inputs[weight]);
  }
  size_t dequantized = 0;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const ValueId input = node.inputs[i];
    if (input == kNoValue) continue;
    if (dequantizer(input)) {
      ++dequantized;
    } else if (!constant(input) || (node.def->quant == Quant::kRescale && holds_weights(node, i))) {
      return false;
    }
  }
  return dequantized > 0;
}

std::optional<NodeId> Storage::fused_activation(const Node& node) const {
  if (!(is_weighted(node) || is(node, "Add")) || !node.has_output(0)) return std::nullopt;
  const std::optional<NodeId> user = graph_.sole_user(node.outputs[0]);
  if (!user) return std::nullopt;
  const Node& next = graph_.node(*user);
  if (!next.def || next.def->quant != Quant::kActivation || next.outputs.empty() ||
      next.inputs[0] != node.outputs[0] || next.outputs[0] == kNoValue)
    return std::nullopt;
  return user;
}

bool Storage::writes_integers(const Node& node) const {
  const std::optional<NodeId> activation = fused_activation(node);
  const Node& last = activation ? graph_.node(*activation) : node;
  return std::ranges::all_of(last.outputs, [&](ValueId output) {
    if (output == kNoValue) return true;
    const std::vector<Use>& uses = graph_.value(output).uses;
    return !uses.empty() && !graph_.is_output(output) &&
           std::ranges::all_of(uses, [&](const Use& use) {
             return use.slot == 0 && is(graph_.node(use.node), kQuantize);
           });
  });
}

void Storage::find_integer_nodes() {
  for (NodeId id : graph_.order()) {
    const Node& node = graph_.node(id);
    if (!node.def || node.def->quant == Quant::kFloat || is(node, kQuantize) ||
        is(node, kDequantize))
      continue;
    integer_[index(id)] = reads_integers(node) && (is_weighted(node) || writes_integers(node));
    if (const auto activation = fused_activation(node)) fused_[index(*activation)] = true;
  }
}

bool Storage::is_view(const Node& node) const {
  return node.def && node.domain.empty() && contains(kViews, node.op) && node.has_input(0) &&
         node.has_output(0) &&
         std::ranges::none_of(node.outputs.begin() + 1, node.outputs.end(), [&](ValueId output) {
           return output != kNoValue && !graph_.value(output).uses.empty();
         });
}

void Storage::find_free_nodes() {
  for (NodeId id : graph_.order()) {
    const Node& node = graph_.node(id);
    bool free = is_view(node);
    if (is(node, kDequantize) && node.has_output(0)) {
      const ValueId output = node.outputs[0];
      const std::vector<Use>& uses = graph_.value(output).uses;
      free = !uses.empty() && !graph_.is_output(output) &&
             std::ranges::all_of(uses, [&](const Use& use) { return integer(use.node); });
    } else if (is(node, kQuantize) && node.has_input(0)) {
      std::optional<NodeId> producer = graph_.value(node.inputs[0]).producer;
      if (producer && fused(*producer))
        producer = graph_.value(graph_.node(*producer).inputs[0]).producer;
      free = producer && integer(*producer) && writes_integers(graph_.node(*producer));
    }
    const bool folded =
        node.def && !node.outputs.empty() && std::ranges::all_of(node.outputs, [&](ValueId output) {
          return output == kNoValue || constant(output);
        });
    free_[index(id)] = free || folded;
  }
}

ValueId Storage::source(NodeId node, ValueId id) const {
  if (!integer(node)) return id;
  const std::optional<NodeId> producer = dequantizer(id);
  return producer ? graph_.node(*producer).inputs[0] : id;
}

void Storage::share_buffers() {
  std::vector<ValueId> integers;
  for (NodeId id : graph_.order()) {
    const Node& node = graph_.node(id);
    const bool joins = fused(id) || (free(id) && (is_view(node) || is(node, kQuantize)));
    const bool dequantizes = free(id) && is(node, kDequantize);
    if (!(joins || dequantizes) || !node.has_input(0) || !node.has_output(0)) continue;
    sets_.unite(index(node.inputs[0]), index(node.outputs[0]));
    if (is(node, kQuantize)) integers.push_back(node.outputs[0]);
    if (dequantizes) integers.push_back(node.inputs[0]);
  }
  roots_.resize(graph_.value_count());
  dtypes_.resize(graph_.value_count(), DType::kUndefined);
  for (uint32_t i = 0; i < graph_.value_count(); ++i) roots_[i] = sets_.find(i);
  const auto note = [&](ValueId id) {
    DType& dtype = dtypes_[roots_[index(id)]];
    if (dtype == DType::kUndefined) dtype = graph_.type(id).dtype;
  };
  std::ranges::for_each(integers, note);
  for (uint32_t i = 0; i < graph_.value_count(); ++i) note(ValueId{i});
}

}  // namespace pare
