#include "passes/class_cut.h"

#include <algorithm>

namespace pare {
namespace {

/// Indices of an axis by whether they are a class: its number, or -1.
std::vector<int64_t> classes_of(const ClassAxis& axis) {
  std::vector<int64_t> classes(static_cast<size_t>(axis.blocks * axis.stride), -1);
  for (int64_t block = 0; block < axis.blocks; ++block)
    for (int64_t c = 0; c < axis.classes; ++c) classes[static_cast<size_t>(axis.at(block, c))] = c;
  return classes;
}

std::string place(const Graph& graph, const ClassAxis& axis, int64_t c) {
  return "class " + std::to_string(c) + " of " + to_string(graph, axis.dim) +
         " cannot be removed, because ";
}

}  // namespace

ClassCut::ClassCut(const Graph& graph, const std::vector<ClassAxis>& axes,
                   std::vector<int64_t> kept)
    : kept_(std::move(kept)), slots_(analyze(graph, axes)) {
  std::set<uint32_t> staying;
  for (const ClassAxis& axis : axes) {
    const std::vector<int64_t> classes = classes_of(axis);
    for (size_t i = 0; i < classes.size(); ++i)
      if (classes[i] < 0 || keeps(classes[i]))
        staying.insert(slots_.group_of(axis.dim, static_cast<int64_t>(i)));
  }
  for (const ClassAxis& axis : axes) doom(graph, axis, staying);
  check_left(graph);
}

bool ClassCut::keeps(int64_t c) const { return std::ranges::binary_search(kept_, c); }

/// Opens the axes and, one after the other, those of other outputs that hold the same classes.
ChannelSlots ClassCut::analyze(const Graph& graph, const std::vector<ClassAxis>& axes) {
  std::vector<Dim> open;
  for (const ClassAxis& axis : axes) open.push_back(axis.dim);
  for (;;) {
    ChannelSlots slots = ChannelSlots::analyze(graph, open);
    const size_t before = open.size();
    for (const ClassAxis& axis : axes) {
      for (int64_t c = 0; c < axis.classes; ++c) {
        const ChannelSlots::Pin* pin = slots.pin_cause(slots.group_of(axis.dim, axis.at(0, c)));
        if (keeps(c) || !pin || pin->node || !graph.is_output(pin->dim.value)) continue;
        if (std::ranges::find(open, pin->dim) == open.end()) open.push_back(pin->dim);
      }
    }
    if (open.size() > before) continue;
    for (const Dim& dim : open)
      if (graph.is_output(dim.value)) outputs_.push_back(graph.value(dim.value).name);
    return slots;
  }
}

void ClassCut::doom(const Graph& graph, const ClassAxis& axis, const std::set<uint32_t>& staying) {
  const std::vector<int64_t> classes = classes_of(axis);
  for (size_t i = 0; i < classes.size(); ++i) {
    const int64_t c = classes[i];
    if (c < 0 || keeps(c)) continue;
    const uint32_t group = slots_.group_of(axis.dim, static_cast<int64_t>(i));
    if (slots_.pinned(group))
      throw Error(ErrorKind::kUnsupported, place(graph, axis, c) + slots_.pin(group));
    if (staying.contains(group))
      throw Error(ErrorKind::kUnsupported,
                  place(graph, axis, c) + "it shares weights with what stays");
    doomed_.insert(group);
  }
}

void ClassCut::check_left(const Graph& graph) const {
  const auto gone = doomed();
  for (uint32_t i = 0; i < graph.value_count(); ++i) {
    const TensorType& type = graph.type(ValueId{i});
    for (int axis = 0; type.known() && axis < static_cast<int>(type.shape.size()); ++axis) {
      const Dim dim = {ValueId{i}, axis};
      if (slots_.extent(dim) > 0 && slots_.surviving(dim, gone).empty())
        throw Error(ErrorKind::kUnsupported, "nothing would be left of " + to_string(graph, dim) +
                                                 ", which no kept class needs");
    }
  }
}

}  // namespace pare
