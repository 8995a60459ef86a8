#include "passes/class_indices.h"

#include <algorithm>
#include <cstdlib>
#include <set>

#include "passes/graph_edit.h"

namespace pare {
namespace {

int normalized(int64_t axis, size_t rank) {
  return static_cast<int>(axis < 0 ? axis + static_cast<int64_t>(rank) : axis);
}

bool is(const Node& node, std::string_view op) { return node.domain.empty() && node.op == op; }

/// The axis whose indices a node computes, of one of its operands.
std::optional<Dim> chosen_axis(const Graph& graph, const Node& node) {
  if (is(node, "NonMaxSuppression") && graph.type(node.inputs[1]).known())
    return Dim{node.inputs[1], 1};
  const bool arg = is(node, "ArgMax") || is(node, "ArgMin");
  if ((!arg && !is(node, "TopK")) || !graph.type(node.inputs[0]).known()) return {};
  const size_t rank = graph.shape(node.inputs[0]).size();
  return Dim{node.inputs[0], normalized(node.attribute("axis", int64_t{arg ? 0 : -1}), rank)};
}

bool any_group(const ChannelSlots& slots, Dim dim, const std::function<bool(uint32_t)>& wanted) {
  for (int64_t i = 0; i < slots.extent(dim); ++i)
    if (wanted(slots.group_of(dim, i))) return true;
  return false;
}

/// Axes of operand 0 that computed numbers of a node point into.
std::vector<int> looked_up_axes(const Graph& graph, const Node& node) {
  if (node.inputs.empty() || !graph.type(node.inputs[0]).known()) return {};
  const size_t rank = graph.shape(node.inputs[0]).size();
  if (is(node, "Gather") || is(node, "GatherElements"))
    return {normalized(node.attribute("axis", int64_t{0}), rank)};
  std::vector<int> axes;
  if (is(node, "GatherND"))
    for (auto axis = static_cast<int>(node.attribute("batch_dims", int64_t{0}));
         axis < static_cast<int>(rank); ++axis)
      axes.push_back(axis);
  return axes;
}

class Follower {
 public:
  Follower(const Graph& graph, const ChannelSlots& slots,
           const std::function<bool(uint32_t)>& doomed)
      : graph_(graph), slots_(slots), doomed_(doomed), holds_(graph.value_count()) {}

  std::vector<ClassTable> run() {
    for (NodeId id : graph_.order()) visit(id);
    return std::move(tables_);
  }

 private:
  /// The axis that numbers in `id` were chosen from, where there are such numbers.
  std::optional<Dim> numbers_in(ValueId id) const {
    return id == kNoValue ? std::nullopt : holds_[index(id)];
  }

  void visit(NodeId id) {
    const Node& node = graph_.node(id);
    const std::vector<int> axes = looked_up_axes(graph_, node);
    std::optional<Dim> carried;
    if (!axes.empty()) {
      look_up(id, axes);
      carried = numbers_in(node.inputs[0]);
    } else {
      for (ValueId input : node.inputs)
        if (!carried) carried = numbers_in(input);
    }
    if (const std::optional<Dim> axis = chosen_axis(graph_, node);
        axis && any_group(slots_, *axis, doomed_)) {
      if (repeats(*axis))
        throw Error(ErrorKind::kUnsupported,
                    describe(node) + " chooses among " + std::to_string(slots_.extent(*axis)) +
                        " pairs of a class and a place, whose numbering would change");
      carried = axis;
    }
    for (ValueId output : node.outputs)
      if (output != kNoValue) holds_[index(output)] = carried;
  }

  /// A class has more than one index.
  bool repeats(Dim axis) const {
    std::set<uint32_t> groups;
    for (int64_t i = 0; i < slots_.extent(axis); ++i) groups.insert(slots_.group_of(axis, i));
    return std::ssize(groups) < slots_.extent(axis);
  }

  void look_up(NodeId id, const std::vector<int>& axes) {
    const Node& node = graph_.node(id);
    const ValueId data = node.inputs[0], indices = node.inputs[1];
    const Value& numbers = graph_.value(indices);
    if (numbers.constant || (numbers.known && !numbers.dynamic)) return;
    const std::optional<Dim> chosen = numbers_in(indices);
    for (int axis : axes) {
      if (any_group(slots_, {data, axis}, doomed_)) {
        if (!chosen)
          throw Error(ErrorKind::kUnsupported,
                      describe(node) + " picks classes from '" + graph_.value(data).name +
                          "' by numbers that are computed from something else than scores");
      } else if (graph_.constant(data) && chosen && axes.size() == 1) {
        add_table(id, axis, *chosen);
      }
    }
  }

  void add_table(NodeId id, int axis, Dim chosen) {
    const int64_t rows = slots_.extent({graph_.node(id).inputs[0], axis});
    const int64_t classes = slots_.extent(chosen);
    if (rows == classes) {
      tables_.push_back({id, axis, slots_.surviving(chosen, doomed_)});
    } else if (std::abs(rows - classes) == 1) {
      throw Error(ErrorKind::kUnsupported, describe(graph_.node(id)) + " looks up one of " +
                                               std::to_string(classes) + " classes in a list of " +
                                               std::to_string(rows));
    }
  }

  const Graph& graph_;
  const ChannelSlots& slots_;
  const std::function<bool(uint32_t)>& doomed_;
  std::vector<std::optional<Dim>> holds_;  ///< By value: numbers of classes are in it.
  std::vector<ClassTable> tables_;
};

}  // namespace

bool cap_top_k(Graph& graph, const ChannelSlots& slots,
               const std::function<bool(uint32_t)>& doomed) {
  bool changed = false;
  for (NodeId id : std::vector<NodeId>(graph.order())) {
    const Node& node = graph.node(id);
    if (!is(node, "TopK")) continue;
    const std::optional<Dim> axis = chosen_axis(graph, node);
    if (!axis || !any_group(slots, *axis, doomed)) continue;
    const int64_t k = graph.type(node.outputs[0]).shape[static_cast<size_t>(axis->axis)];
    if (k < 0)
      throw Error(ErrorKind::kUnsupported, describe(node) + " computes how many classes it picks");
    const int64_t kept = std::ssize(slots.surviving(*axis, doomed));
    if (k <= kept) continue;
    if (node.has_attribute("k")) {
      graph.set_attribute(id, "k", kept);
    } else {
      replace_constant(graph, id, 1, Tensor({1}, std::vector<int64_t>{kept}));
    }
    changed = true;
  }
  if (changed) graph.infer_types();
  return changed;
}

std::vector<ClassTable> follow_class_indices(const Graph& graph, const ChannelSlots& slots,
                                             const std::function<bool(uint32_t)>& doomed) {
  return Follower(graph, slots, doomed).run();
}

}  // namespace pare
