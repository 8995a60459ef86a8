// ONNX Pad: amounts as an attribute (to opset 10) or an operand; axes from opset 18 on.
// https://onnx.ai/onnx/operators/onnx__Pad.html

#include <algorithm>
#include <numeric>

#include "ir/channel_slots.h"
#include "ops/axes.h"
#include "ops/movement.h"
#include "ops/rewrite.h"

namespace pare {
namespace {

/// No axis is padded by more than this: a larger number in a file is a mistake, and memory is
/// short.
constexpr int64_t kMaxPad = int64_t{1} << 28;

/// Elements put before and after one axis; negative ones are cropped.
struct Amount {
  int64_t before = 0, after = 0;
};

/// The list of amounts, under the name it had in opset 1 too.
template <typename In>
IntList read_pads(const Node& node, const In& in) {
  const IntList old = int_list(node, "paddings", in, 1);
  return node.has_attribute("paddings") ? old : int_list(node, "pads", in, 1);
}

/// The padded axes, in the order of the amounts. Must be known.
std::vector<size_t> padded_axes(const IntList& axes, size_t rank) {
  if (axes.given) return normalize_axes(axes.values, rank);
  std::vector<size_t> all(rank);
  std::iota(all.begin(), all.end(), size_t{0});
  return all;
}

/// By axis.
std::vector<Amount> amounts_of(const IntList& pads, const IntList& axes, const Shape& shape) {
  if (!pads.given) throw Error(ErrorKind::kInput, "has no amounts to pad by");
  const std::vector<size_t> which = padded_axes(axes, shape.size());
  if (pads.values.size() != 2 * which.size()) {
    throw Error(ErrorKind::kInput, "amounts " + to_string(pads.values) +
                                       " are no pair for each of " + std::to_string(which.size()) +
                                       " axes");
  }
  std::vector<Amount> amounts(shape.size());
  for (size_t i = 0; i < which.size(); ++i) {
    const Amount amount = {pads.values[i], pads.values[which.size() + i]};
    const int64_t low = -shape[which[i]];
    if (amount.before < low || amount.before > kMaxPad || amount.after > kMaxPad ||
        amount.after < low - std::min<int64_t>(amount.before, 0)) {
      throw Error(ErrorKind::kInput, "axis " + std::to_string(which[i]) + " of " +
                                         to_string(shape) + " cannot be padded by " +
                                         std::to_string(amount.before) + " and " +
                                         std::to_string(amount.after));
    }
    amounts[which[i]] = amount;
  }
  return amounts;
}

std::vector<TensorType> infer(const Node& node, Operands in) {
  TensorType type = *in[0].type;
  const IntList pads = read_pads(node, in), axes = int_list(node, {}, in, 3);
  if (!pads.known || (axes.given && !axes.known)) {
    if (!pads.given) throw Error(ErrorKind::kInput, "has no amounts to pad by");
    type.shape.assign(type.shape.size(), -1);
    return {type};
  }
  const std::vector<Amount> amounts = amounts_of(pads, axes, type.shape);
  for (size_t a = 0; a < amounts.size(); ++a) type.shape[a] += amounts[a].before + amounts[a].after;
  return {type};
}

// -- Channels
// ----------------------------------------------------------------------------------------

/// True when what is put in is zero, which is what a removed channel counts as.
bool pads_zeros(const Graph& graph, const Node& node) {
  if (node.attribute("mode", "constant") != "constant") return false;
  if (node.attribute<float>("value", 0.0f) != 0) return false;
  if (!node.has_input(2)) return true;
  const Tensor* value = graph.constant(node.inputs[2]);
  return value &&
         std::ranges::all_of(value->bytes(), [](std::byte b) { return b == std::byte{0}; });
}

void tie_padded(const Amount& amount, Dim x, Dim y, bool zeros, ChannelSlots& slots) {
  const int64_t extent = slots.extent(x), padded = slots.extent(y);
  slots.free(x), slots.free(y);
  for (int64_t j = 0; j < padded; ++j) {
    const int64_t source = j - amount.before;
    if (source >= 0 && source < extent) {
      slots.tie_one(x, source, y, j);
    } else if (!zeros) {
      slots.fix_one(y, j);
    }
  }
}

void tie(const Graph& graph, const Node& node, ChannelSlots& slots) {
  const ValueId x = node.inputs[0], y = node.outputs[0];
  const std::vector<Operand> operands = graph.operands(node);
  const IntList pads = read_pads(node, Operands(operands));
  const IntList axes = int_list(node, {}, Operands(operands), 3);
  if (pads.known && (!axes.given || axes.known)) {
    const std::vector<Amount> amounts = amounts_of(pads, axes, graph.shape(x));
    const bool constant = node.attribute("mode", "constant") == "constant";
    for (size_t a = 0; a < amounts.size(); ++a) {
      if (amounts[a].before == 0 && amounts[a].after == 0) {
        slots.tie(dim_of(x, a), dim_of(y, a));
      } else if (constant) {
        tie_padded(amounts[a], dim_of(x, a), dim_of(y, a), pads_zeros(graph, node), slots);
      }
    }
  }
  for (ValueId value : node.inputs) slots.fix_rest(value);
  slots.fix_rest(y);
}

/// Counts what is left of the slots put in or cropped.
void resize(Graph& graph, NodeId id, const ShapeChange& change) {
  const Node& node = graph.node(id);
  const IntList pads = read_pads(node, change.old_operands);
  const IntList axes = int_list(node, {}, change.old_operands, 3);
  if (!pads.known || (axes.given && !axes.known)) return;
  const Shape& shape = change.old_inputs[0];
  const std::vector<Amount> amounts = amounts_of(pads, axes, shape);
  const std::vector<size_t> which = padded_axes(axes, shape.size());
  std::vector<int64_t> wanted = pads.values;
  for (size_t i = 0; i < which.size(); ++i) {
    const size_t a = which[i];
    const auto& in = change.kept_inputs[0][a];
    const auto& out = change.kept_outputs[0][a];
    const int64_t extent = shape[a];
    const auto [before, after] = amounts[a];
    const auto count = [](const std::vector<int64_t>& kept, int64_t first, int64_t last) {
      return std::ranges::count_if(kept, [&](int64_t k) { return k >= first && k < last; });
    };
    wanted[i] = before < 0 ? -count(in, 0, -before) : count(out, 0, before);
    wanted[which.size() + i] = after < 0 ? -count(in, extent + after, extent)
                                         : count(out, before + extent, before + extent + after);
  }
  repair_integers(graph, id, node.has_attribute("paddings") ? "paddings" : "pads", 1, wanted);
}

// -- Meaning
// -----------------------------------------------------------------------------------------

/// The source of each index of a padded axis of `extent`, -1 for the constant.
std::vector<int64_t> axis_map(const Amount& amount, int64_t extent, const std::string& mode) {
  const int64_t padded = extent + amount.before + amount.after;
  if (mode != "constant" && extent == 0 && padded > 0)
    throw Error(ErrorKind::kInput, "an empty axis has nothing to pad with in mode " + mode);
  std::vector<int64_t> map;
  for (int64_t j = 0; j < padded; ++j) {
    int64_t i = j - amount.before;
    if (i < 0 || i >= extent) {
      if (mode == "constant") {
        i = -1;
      } else if (mode == "edge") {
        i = std::clamp<int64_t>(i, 0, extent - 1);
      } else if (mode == "wrap") {
        i = (i % extent + extent) % extent;
      } else {  // reflect: back and forth without repeating the edge
        const int64_t period = std::max<int64_t>(1, 2 * (extent - 1));
        i = (i % period + period) % period;
        i = std::min(i, period - i);
        if (extent == 1) i = 0;
      }
    }
    map.push_back(i);
  }
  return map;
}

/// One element of the dtype of the result.
Tensor fill_value(const Node& node, DType dtype, const Tensor* operand) {
  if (!operand) return cast(Tensor::scalar(node.attribute<float>("value", 0.0f)), dtype);
  if (operand->size() != 1 || operand->dtype() != dtype)
    throw Error(ErrorKind::kInput, "the constant to pad with is not one element of the input type");
  return *operand;
}

std::vector<Tensor> eval(const Node& node, std::span<const Tensor* const> in) {
  static constexpr std::string_view kModes[] = {"constant", "edge", "reflect", "wrap"};
  const Tensor& x = *in[0];
  const std::string mode = node.attribute("mode", "constant");
  if (std::ranges::find(kModes, mode) == std::end(kModes))
    throw Error(ErrorKind::kInput, "mode '" + mode + "' is none of constant, edge, reflect, wrap");
  const std::vector<Amount> amounts =
      amounts_of(read_pads(node, in), int_list(node, {}, in, 3), x.shape());
  Shape shape = x.shape();
  for (size_t a = 0; a < amounts.size(); ++a) shape[a] += amounts[a].before + amounts[a].after;
  if (element_count(shape) == 0) return {Tensor(x.dtype(), shape)};
  std::vector<std::vector<int64_t>> maps;
  for (size_t a = 0; a < amounts.size(); ++a)
    maps.push_back(axis_map(amounts[a], x.shape()[a], mode));
  const Tensor* constant = operand_or_null(in, 2);
  if (x.dtype() == DType::kString) {
    const Tensor sources[] = {x, constant ? *constant : Tensor(DType::kString, {1})};
    return move_elements(sources, [&](std::span<const Tensor> s) {
      return std::vector<Tensor>{mapped_copy(s[0], maps, s[1].bytes())};
    });
  }
  return {mapped_copy(x, maps, fill_value(node, x.dtype(), constant).bytes())};
}

/// Amounts and value became operands in opset 11.
void upgrade(Graph& graph, NodeId id, int64_t) {
  if (graph.node(id).has_attribute("paddings")) {
    graph.set_attribute(id, "pads", graph.node(id).attributes.find("paddings")->second);
    graph.remove_attribute(id, "paddings");
  }
  attribute_to_operand(graph, id, "pads", 1);
  const Node& node = graph.node(id);
  if (!node.has_attribute("value")) return;
  const Tensor value = Tensor::scalar(node.attribute<float>("value", 0.0f));
  const DType dtype = graph.type(node.inputs[0]).dtype;
  graph.set_input(id, 2, graph.add_constant(node.name + "_value", cast(value, dtype)));
  graph.remove_attribute(id, "value");
}

}  // namespace

extern const OpDef kPad;
constinit const OpDef kPad = {.name = "Pad",
                              .max_inputs = 4,
                              .infer = infer,
                              .tie = tie,
                              .channels =
                                  "axes without padding pass through; on others only indices from "
                                  "the input and padded zeros may go",
                              .resize = resize,
                              .eval = eval,
                              .native_half = true,
                              .quant = Quant::kPassThrough,
                              .upgrade = upgrade};

}  // namespace pare
