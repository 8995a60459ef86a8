#include "passes/class_parts.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace pare {
namespace {

/// Nodes whose output has the axes of their first input.
constexpr std::array<std::string_view, 10> kSameAxes = {
    "Identity",   "Cast", "Sigmoid",        "HardSigmoid",      "Softmax",
    "LogSoftmax", "Relu", "QuantizeLinear", "DequantizeLinear", "Clip"};

int normalized(int64_t axis, size_t rank) {
  return static_cast<int>(axis < 0 ? axis + static_cast<int64_t>(rank) : axis);
}

/// Where axis `dim` of a node's output lies in its first input; nothing where it is not there as a
/// whole.
std::optional<Dim> step_back(const Graph& graph, const Node& node, Dim dim) {
  if (!node.domain.empty() || node.inputs.empty() || !graph.type(node.inputs[0]).known()) return {};
  const ValueId input = node.inputs[0];
  const size_t rank = graph.shape(input).size();
  if (std::ranges::find(kSameAxes, node.op) != kSameAxes.end()) return Dim{input, dim.axis};
  if (node.op == "Transpose") {
    const auto order = node.attribute("perm", std::vector<int64_t>{});
    const auto axis = static_cast<size_t>(dim.axis);
    return Dim{input, order.empty() ? static_cast<int>(rank) - 1 - dim.axis
                                    : normalized(order[axis], rank)};
  }
  if (node.op == "Concat" && normalized(node.attribute("axis", int64_t{1}), rank) != dim.axis)
    return Dim{input, dim.axis};
  return {};
}

/// Calls `visit` with every node of the walk back from `dim` and the axis of its output, until it
/// returns true.
template <typename Visit>
void walk_back(const Graph& graph, Dim dim, Visit&& visit) {
  while (graph.value(dim.value).producer) {
    const Node& node = graph.node(*graph.value(dim.value).producer);
    if (visit(node, dim)) return;
    const std::optional<Dim> before = step_back(graph, node, dim);
    if (!before) return;
    dim = *before;
  }
}

}  // namespace

std::vector<int64_t> parts_of_axis(const Graph& graph, Dim dim) {
  std::vector<int64_t> parts;
  walk_back(graph, dim, [&](const Node& node, Dim at) {
    if (node.op != "Concat" || step_back(graph, node, at)) return false;
    for (ValueId input : node.inputs) {
      const TensorType& type = graph.type(input);
      if (!type.known()) return parts.clear(), true;
      parts.push_back(type.shape[static_cast<size_t>(at.axis)]);
    }
    return true;
  });
  return parts;
}

std::optional<Part> part_beside_boxes(const Graph& graph, Dim dim) {
  constexpr int64_t kCoordinates = 4;
  const std::vector<int64_t> parts = parts_of_axis(graph, dim);
  if (parts.size() < 2 || parts.size() > 3) return {};
  for (size_t c = 0; c < parts.size(); ++c) {
    std::vector<int64_t> others = parts;
    others.erase(others.begin() + static_cast<ptrdiff_t>(c));
    std::ranges::sort(others);
    const int64_t boxes = others.back();
    const bool fits =
        boxes % kCoordinates == 0 && (others.size() == 1 || others.front() * kCoordinates == boxes);
    if (!fits || parts[c] <= boxes) continue;
    Part part{.extent = parts[c]};
    for (size_t i = 0; i < c; ++i) part.offset += parts[i];
    return part;
  }
  return {};
}

std::optional<int> softmax_axis(const Graph& graph, ValueId id) {
  if (!graph.type(id).known()) return {};
  const auto rank = static_cast<int>(graph.shape(id).size());
  for (int axis = rank - 1; axis >= 0; --axis) {
    bool found = false;
    walk_back(graph, {id, axis}, [&](const Node& node, Dim at) {
      if (node.op != "Softmax" && node.op != "LogSoftmax") return false;
      const int64_t fallback = node.opset < 13 ? 1 : -1;
      const size_t in_rank = graph.shape(node.inputs[0]).size();
      found = normalized(node.attribute("axis", fallback), in_rank) == at.axis;
      return true;
    });
    if (found) return axis;
  }
  return {};
}

bool ends_channels_last(const Graph& graph, ValueId id) {
  bool moved = false;
  walk_back(graph, {id, 3}, [&](const Node& node, Dim at) {
    moved = node.op == "Transpose" && at.axis == 3 &&
            node.attribute("perm", std::vector<int64_t>{}) == std::vector<int64_t>{0, 2, 3, 1};
    return moved;
  });
  return moved;
}

}  // namespace pare
