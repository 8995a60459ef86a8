#include "passes/merge_classes.h"

#include <algorithm>
#include <array>
#include <map>
#include <string_view>

#include "passes/class_cut.h"
#include "passes/class_indices.h"
#include "passes/graph_edit.h"
#include "passes/remove_slots.h"

namespace pare {
namespace {

constexpr int64_t kAxesAreOperands = 18;  ///< Opset from which ReduceLogSumExp takes them so.

[[noreturn]] void unsupported(const std::string& sentence) {
  throw Error(ErrorKind::kUnsupported, "others: merge: " + sentence);
}

bool passes_on(const Node& node) {
  constexpr std::array<std::string_view, 4> kSame = {"Identity", "Cast", "QuantizeLinear",
                                                     "DequantizeLinear"};
  return std::ranges::find(kSame, node.op) != kSame.end();
}

int normalized(int64_t axis, size_t rank) {
  return static_cast<int>(axis < 0 ? axis + static_cast<int64_t>(rank) : axis);
}

/// Walks from scores back to the logits of the same classes.
class LogitsFinder {
 public:
  LogitsFinder(const Graph& graph, const ChannelSlots& slots, const ClassAxis& scores)
      : graph_(graph), slots_(slots), scores_(scores), at_(scores.dim), first_(scores.first) {
    for (int64_t c = 0; c < scores.classes; ++c)
      groups_.push_back(slots.group_of(scores.dim, scores.at(0, c)));
  }

  /// The operand of the Softmax; nothing where there is none.
  std::optional<Dim> softmaxed() {
    while (graph_.value(at_.value).producer) {
      const Node& node = graph_.node(*graph_.value(at_.value).producer);
      if (!node.domain.empty() || node.inputs.empty() || !graph_.type(node.inputs[0]).known())
        return {};
      if (node.op == "Sigmoid") sigmoid_ = describe(node);
      if (node.op == "Softmax" || node.op == "LogSoftmax") return through(node.inputs[0]);
      if (!step(node)) return {};
    }
    return {};
  }

  /// The same, or the scores where they are logits themselves.
  Dim find() {
    if (const std::optional<Dim> logits = softmaxed()) return *logits;
    if (!sigmoid_.empty())
      unsupported(sigmoid_ + " scores every class by itself; none of the kept ones is then all " +
                  "scores low");
    if (!alone(scores_.dim))
      unsupported(to_string(graph_, scores_.dim) + " holds more than classes");
    if (!graph_.value(scores_.dim.value).producer) unsupported("no node computes the scores");
    return scores_.dim;
  }

 private:
  bool alone(Dim dim) const {
    if (slots_.extent(dim) != std::ssize(groups_)) return false;
    for (int64_t i = 0; i < slots_.extent(dim); ++i)
      if (slots_.group_of(dim, i) != groups_[static_cast<size_t>(i)]) return false;
    return true;
  }

  /// The axis of the classes alone in another form of the value.
  Dim through(ValueId id) const {
    for (int axis = 0; axis < static_cast<int>(graph_.shape(id).size()); ++axis)
      if (alone({id, axis})) return {id, axis};
    unsupported("'" + graph_.value(id).name + "' has no axis of the classes alone");
  }

  bool step(const Node& node) {
    const ValueId input = node.inputs[0];
    if (passes_on(node)) {
      at_.value = input;
      return true;
    }
    if (node.op == "Concat") return step_into_part(node);
    if (node.op != "Transpose" && node.op != "Reshape" && node.op != "Flatten" &&
        node.op != "Squeeze")
      return false;
    for (int axis = 0; axis < static_cast<int>(graph_.shape(input).size()); ++axis) {
      const Dim dim = {input, axis};
      if (slots_.extent(dim) != slots_.extent(at_) ||
          slots_.group_of(dim, first_) != groups_.front())
        continue;
      at_ = dim;
      return true;
    }
    return false;
  }

  bool step_into_part(const Node& node) {
    const size_t rank = graph_.shape(node.inputs[0]).size();
    if (normalized(node.attribute("axis", int64_t{1}), rank) != at_.axis) return false;
    for (ValueId input : node.inputs) {
      const int64_t extent = slots_.extent({input, at_.axis});
      if (first_ < extent) {
        at_.value = input;
        return true;
      }
      first_ -= extent;
    }
    return false;
  }

  const Graph& graph_;
  const ChannelSlots& slots_;
  ClassAxis scores_;
  Dim at_;
  int64_t first_;                 ///< Index of class 0 on it.
  std::vector<uint32_t> groups_;  ///< By class.
  std::string sigmoid_;           ///< The one in between.
};

/// Nodes that `id` is computed from, by id.
std::vector<bool> ancestors(const Graph& graph, ValueId id) {
  std::vector<bool> found(graph.node_count());
  std::vector<ValueId> open = {id};
  while (!open.empty()) {
    const ValueId value = open.back();
    open.pop_back();
    if (value == kNoValue || !graph.value(value).producer) continue;
    const NodeId producer = *graph.value(value).producer;
    if (found[index(producer)]) continue;
    found[index(producer)] = true;
    const Node& node = graph.node(producer);
    open.insert(open.end(), node.inputs.begin(), node.inputs.end());
  }
  return found;
}

/// Puts those nodes of a reduced copy of `before` that the reduction changed into `target`, another
/// copy of it, beside what is there.
class HeadCopy {
 public:
  HeadCopy(const Graph& before, const Graph& part, Graph& target, NodeId at)
      : before_(before), part_(part), target_(target), at_(at) {}

  /// What `id` of the reduced copy is in the target.
  ValueId copy(ValueId id) {
    const std::vector<bool> needed = ancestors(part_, id);
    for (NodeId node : part_.order())
      if (needed[index(node)] && changed(node)) copy_node(part_.node(node));
    return mapped(id);
  }

 private:
  bool changed(NodeId id) const {
    if (index(id) >= before_.node_count()) return true;
    const Node &node = part_.node(id), &old = before_.node(id);
    if (node.inputs != old.inputs) return true;
    for (ValueId input : node.inputs)
      if (input != kNoValue && (map_.contains(input) || is_new(input))) return true;
    return std::ranges::any_of(node.outputs, [&](ValueId output) {
      return output != kNoValue && part_.type(output) != before_.type(output);
    });
  }

  /// A constant that the reduction made or cut.
  bool is_new(ValueId id) const {
    return part_.value(id).constant && (index(id) >= before_.value_count() ||
                                        part_.value(id).constant != before_.value(id).constant);
  }

  ValueId mapped(ValueId id) {
    if (id == kNoValue) return id;
    const auto found = map_.find(id);
    if (found != map_.end()) return found->second;
    if (!is_new(id)) return id;
    const Value& value = part_.value(id);
    return map_[id] = target_.add_constant(value.name, *value.constant);
  }

  void copy_node(const Node& node) {
    if (!node.domain.empty() || !node.def) unsupported(describe(node) + " cannot be copied");
    std::vector<ValueId> inputs;
    for (ValueId input : node.inputs) inputs.push_back(mapped(input));
    const ValueId first =
        target_.insert_node(at_, node.op, inputs, node.attributes, node.name, node.outputs.size());
    const Node& made = target_.node(*target_.value(first).producer);
    for (size_t i = 0; i < node.outputs.size(); ++i) map_[node.outputs[i]] = made.outputs[i];
  }

  const Graph &before_, &part_;
  Graph& target_;
  NodeId at_;
  std::map<ValueId, ValueId> map_;
};

ValueId log_sum_exp(Graph& graph, NodeId at, ValueId x, int axis) {
  const std::vector<int64_t> axes = {axis};
  if (graph.opset() < kAxesAreOperands)
    return graph.insert_node(at, "ReduceLogSumExp", {x}, {{"axes", axes}, {"keepdims", int64_t{1}}},
                             "others");
  const ValueId operand = graph.add_constant("others_axes", Tensor({1}, axes));
  return graph.insert_node(at, "ReduceLogSumExp", {x, operand}, {{"keepdims", int64_t{1}}},
                           "others");
}

/// Constants behind the logits that lose classes: thresholds, say.
bool lists_follow(const Graph& graph, const ClassCut& cut, const std::vector<Dim>& logits) {
  std::vector<bool> before(graph.node_count());
  for (Dim dim : logits) {
    const std::vector<bool> more = ancestors(graph, dim.value);
    for (size_t i = 0; i < before.size(); ++i) before[i] = before[i] || more[i];
  }
  const auto doomed = cut.doomed();
  for (NodeId id : graph.order()) {
    if (before[index(id)]) continue;
    for (ValueId input : graph.node(id).inputs) {
      if (!graph.constant(input)) continue;
      for (int axis = 0; axis < static_cast<int>(graph.shape(input).size()); ++axis) {
        const Dim dim = {input, axis};
        if (std::ssize(cut.slots().surviving(dim, doomed)) < cut.slots().extent(dim)) return true;
      }
    }
  }
  return false;
}

/// What computes `logits`, for some of the classes only.
Graph head(const Graph& whole, Dim logits, const std::vector<int64_t>& classes) {
  Graph graph = whole;
  graph.set_outputs({logits.value});
  remove_unused_nodes(graph);
  const int64_t all = graph.shape(logits.value)[static_cast<size_t>(logits.axis)];
  const ClassCut cut(graph, {{.dim = logits, .classes = all, .stride = all}}, classes);
  remove_slots(graph, cut.slots(), cut.doomed());
  return graph;
}

std::vector<int64_t> without(int64_t classes, const std::vector<int64_t>& kept) {
  std::vector<int64_t> others;
  for (int64_t c = 0; c < classes; ++c)
    if (!std::ranges::binary_search(kept, c)) others.push_back(c);
  return others;
}

std::vector<Dim> all_logits(const Graph& graph, const ChannelSlots& slots,
                            const std::vector<ClassAxis>& axes) {
  std::vector<Dim> found;
  for (const ClassAxis& axis : axes) {
    if (axis.blocks != 1) unsupported(to_string(graph, axis.dim) + " holds them once an anchor");
    const Dim logits = LogitsFinder(graph, slots, axis).find();
    if (std::ranges::find(found, logits) == found.end()) found.push_back(logits);
  }
  return found;
}

}  // namespace

bool classes_compete(const Graph& graph, const ClassAxis& axis) {
  const ChannelSlots slots = ChannelSlots::analyze(graph, {axis.dim});
  return LogitsFinder(graph, slots, axis).softmaxed().has_value();
}

int64_t merge_classes(Graph& graph, const std::vector<ClassAxis>& axes,
                      const std::vector<int64_t>& kept) {
  const std::vector<int64_t> others = without(axes[0].classes, kept);
  if (others.empty()) return 0;
  // Behind the logits the last of the others lends its place to all of them.
  std::vector<int64_t> places = kept;
  places.insert(std::ranges::upper_bound(places, others.back()), others.back());
  {
    const ClassCut cut(graph, axes, places);
    cap_top_k(graph, cut.slots(), cut.doomed());
  }
  const Graph before = graph;  // Shares the weights.
  const ClassCut cut(before, axes, places);
  const std::vector<Dim> logits = all_logits(before, cut.slots(), axes);
  if (!follow_class_indices(before, cut.slots(), cut.doomed()).empty() ||
      (kept.back() > others.back() && lists_follow(before, cut, logits)))
    unsupported("a list by class follows, which has no entry for the others");
  const int64_t removed = remove_slots(graph, cut.slots(), cut.doomed());
  for (Dim dim : logits) {
    const Graph own = head(before, dim, kept), rest = head(before, dim, others);
    const NodeId at = *graph.value(dim.value).producer;
    const ValueId mine = HeadCopy(before, own, graph, at).copy(dim.value);
    const ValueId theirs = HeadCopy(before, rest, graph, at).copy(dim.value);
    const ValueId merged =
        graph.insert_node(at, "Concat", {mine, log_sum_exp(graph, at, theirs, dim.axis)},
                          {{"axis", int64_t{dim.axis}}}, "own_and_others");
    graph.replace_uses(dim.value, merged);
  }
  remove_unused_nodes(graph);
  graph.infer_types();
  return removed;
}

}  // namespace pare
