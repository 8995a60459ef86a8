#include "ops/axes.h"

#include <algorithm>

#include "ir/channel_slots.h"

namespace pare {
namespace {

/// The list of attribute `name`, when there is one.
bool read_attribute(const Node& node, std::string_view name, IntList& list) {
  if (name.empty() || !node.has_attribute(name)) return false;
  const Attribute& attribute = node.attributes.find(name)->second;
  list.given = list.known = true;
  if (const auto* one = std::get_if<int64_t>(&attribute)) {
    list.values = {*one};
  } else {
    list.values = node.attribute<std::vector<int64_t>>(name, {});
  }
  return true;
}

void read_value(const Tensor* tensor, IntList& list) {
  list.given = true;
  list.known = tensor != nullptr;
  if (tensor) list.values = to_int64(*tensor);
}

}  // namespace

size_t normalize_axis(int64_t axis, size_t rank) {
  const auto r = static_cast<int64_t>(rank);
  if (axis < -r || axis >= r) {
    throw Error(ErrorKind::kInput, "axis " + std::to_string(axis) +
                                       " is outside a tensor of rank " + std::to_string(rank));
  }
  return static_cast<size_t>(axis < 0 ? axis + r : axis);
}

std::vector<size_t> normalize_axes(std::span<const int64_t> axes, size_t rank) {
  std::vector<size_t> result;
  for (int64_t axis : axes) {
    const size_t a = normalize_axis(axis, rank);
    if (std::ranges::find(result, a) != result.end())
      throw Error(ErrorKind::kInput, "axis " + std::to_string(axis) + " is named twice");
    result.push_back(a);
  }
  return result;
}

size_t axis_attribute(const Node& node, int64_t fallback, size_t rank) {
  return normalize_axis(node.attribute<int64_t>("axis", fallback), rank);
}

IntList int_list(const Node& node, std::string_view name, Operands in, size_t slot) {
  IntList list;
  if (!read_attribute(node, name, list) && slot < in.size() && in[slot])
    read_value(in[slot].value, list);
  return list;
}

IntList int_list(const Node& node, std::string_view name, std::span<const Tensor* const> in,
                 size_t slot) {
  IntList list;
  if (!read_attribute(node, name, list) && slot < in.size() && in[slot]) read_value(in[slot], list);
  return list;
}

IntList int_list(const Graph& graph, const Node& node, std::string_view name, size_t slot) {
  const std::vector<Operand> operands = graph.operands(node);
  return int_list(node, name, Operands(operands), slot);
}

int64_t int_operand(std::span<const Tensor* const> in, size_t slot) {
  const std::vector<int64_t> values = to_int64(*in[slot]);
  if (values.size() != 1) {
    throw Error(ErrorKind::kInput, "input " + std::to_string(slot) + " must be one integer, has " +
                                       std::to_string(values.size()));
  }
  return values[0];
}

int64_t extent_product(const Shape& shape, size_t first, size_t last) {
  return element_count(Shape(shape.begin() + static_cast<ptrdiff_t>(first),
                             shape.begin() + static_cast<ptrdiff_t>(last)));
}

Dim dim_of(ValueId value, size_t axis) { return {value, static_cast<int>(axis)}; }

}  // namespace pare
