#include "passes/class_axes.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "config/glob.h"
#include "passes/class_parts.h"

namespace pare {
namespace {

constexpr int64_t kCoordinates = 4;
constexpr int64_t kMostAnchors = 9;

[[noreturn]] void usage(const std::string& sentence) { throw Error(ErrorKind::kUsage, sentence); }

/// A value that may hold classes, and what an operator has already said about its class axis.
struct Source {
  ValueId value;
  std::optional<int> axis;
};

/// How well an axis fits; smaller is better. Compared over all outputs.
enum class Fit : uint8_t { kAlone, kBackground, kPart, kBehindBoxes, kAnchors, kBare, kNone };

struct Match {
  ClassAxis axis;
  Fit fit = Fit::kNone;
};

int64_t extent(const Graph& graph, Dim dim) {
  return graph.shape(dim.value)[static_cast<size_t>(dim.axis)];
}

bool may_hold_scores(const Graph& graph, ValueId id) {
  const TensorType& type = graph.type(id);
  return type.known() && is_float(type.dtype) && type.shape.size() >= 2;
}

// -- Where to look ---------------------------------------------------------------

int axis_of(const Graph& graph, const Node& node, int64_t fallback) {
  const auto rank = static_cast<int64_t>(graph.shape(node.inputs[0]).size());
  const int64_t axis = node.attribute("axis", fallback);
  return static_cast<int>(axis < 0 ? axis + rank : axis);
}

/// What an ArgMax or TopK behind an output chose from.
std::optional<Source> chosen_from(const Graph& graph, ValueId output) {
  constexpr std::array<std::string_view, 6> kThrough = {"Identity",  "Cast",    "Squeeze",
                                                        "Unsqueeze", "Reshape", "Flatten"};
  for (ValueId id = output; graph.value(id).producer;) {
    const Node& node = graph.node(*graph.value(id).producer);
    const bool chooses = node.op == "ArgMax" || node.op == "TopK";
    if (chooses && may_hold_scores(graph, node.inputs[0]))
      return Source{node.inputs[0], axis_of(graph, node, node.op == "TopK" ? -1 : 0)};
    if (std::ranges::find(kThrough, node.op) == kThrough.end() || !node.domain.empty()) return {};
    id = node.inputs[0];
  }
  return {};
}

/// Scores a NonMaxSuppression takes, [N, C, boxes].
std::vector<Source> suppressed(const Graph& graph) {
  std::vector<Source> sources;
  for (NodeId id : graph.order()) {
    const Node& node = graph.node(id);
    if (node.op != "NonMaxSuppression" || !node.domain.empty()) continue;
    if (may_hold_scores(graph, node.inputs[1]) && graph.shape(node.inputs[1]).size() == 3 &&
        graph.shape(node.inputs[1])[1] >= 2)
      sources.push_back({node.inputs[1], 1});
  }
  return sources;
}

std::vector<Source> sources_of(const Graph& graph) {
  std::vector<Source> sources = suppressed(graph);
  if (!sources.empty()) return sources;
  for (ValueId output : graph.outputs()) {
    const std::optional<Source> chosen = chosen_from(graph, output);
    const Source source = chosen ? *chosen : Source{output, {}};
    const bool seen = std::ranges::any_of(
        sources, [&](const Source& other) { return other.value == source.value; });
    if (!seen && may_hold_scores(graph, source.value)) sources.push_back(source);
  }
  return sources;
}

std::vector<Source> named_sources(const Graph& graph, const std::vector<std::string>& patterns) {
  std::vector<Source> sources;
  for (const std::string& pattern : patterns) {
    const size_t before = sources.size();
    for (uint32_t i = 0; i < graph.value_count(); ++i) {
      const ValueId id{i};
      const Value& value = graph.value(id);
      const bool meant =
          value.name == pattern || (graph.is_output(id) && matches_glob(pattern, value.name));
      if (!meant || !(value.producer || graph.is_output(id))) continue;
      if (!graph.type(id).known())
        throw Error(ErrorKind::kUnsupported, "the shape of '" + value.name + "' is not known");
      const std::optional<Source> chosen = chosen_from(graph, id);
      sources.push_back(chosen && !is_float(graph.type(id).dtype) ? *chosen : Source{id, {}});
    }
    if (sources.size() > before) continue;
    std::string outputs;
    for (ValueId id : graph.outputs())
      outputs += (outputs.empty() ? "'" : ", '") + graph.value(id).name + "'";
    usage("the model has no output '" + pattern + "'; it has " + outputs);
  }
  return sources;
}

// -- What fits ---------------------------------------------------------------------

/// [N, H, W, C], by the Transpose that made it or by a square of places.
bool channels_last(const Graph& graph, ValueId id) {
  const Shape& shape = graph.shape(id);
  return ends_channels_last(graph, id) || (shape[1] == shape[2] && shape[2] != shape[3]);
}

/// The axes of a value that may hold classes, the likeliest first.
std::vector<int> likely_axes(const Graph& graph, const Source& source, const ClassHints& hints) {
  const auto rank = static_cast<int>(graph.shape(source.value).size());
  if (hints.axis) {
    if (*hints.axis < -rank || *hints.axis >= rank)
      usage("axis " + std::to_string(*hints.axis) + " is outside of '" +
            graph.value(source.value).name + "' " + to_string(graph.shape(source.value)));
    return {static_cast<int>(*hints.axis < 0 ? *hints.axis + rank : *hints.axis)};
  }
  if (source.axis) return {*source.axis};
  std::vector<int> axes;
  const auto add = [&](int axis) {
    if (std::ranges::find(axes, axis) == axes.end()) axes.push_back(axis);
  };
  if (const std::optional<int> normalised = softmax_axis(graph, source.value)) add(*normalised);
  if (rank == 4 && !channels_last(graph, source.value)) add(1);
  add(rank - 1);
  for (int axis = 1; axis < rank; ++axis) add(axis);
  return axes;
}

ClassAxis whole(const Graph& graph, Dim dim) {
  const int64_t all = extent(graph, dim);
  return {.dim = dim, .classes = all, .stride = all};
}

/// The axis as the hints spell it out.
Match spelled_out(const Graph& graph, Dim dim, const ClassHints& hints) {
  const int64_t all = extent(graph, dim);
  ClassAxis axis = whole(graph, dim);
  axis.blocks = hints.anchors.value_or(1);
  axis.first = hints.first.value_or(0);
  if (all % axis.blocks != 0)
    usage(to_string(graph, dim) + " does not divide by " + std::to_string(axis.blocks) +
          " anchors");
  axis.stride = all / axis.blocks;
  axis.classes = hints.classes > 0 ? hints.classes : axis.stride - axis.first;
  if (axis.classes < 1 || axis.first + axis.classes > axis.stride)
    usage(to_string(graph, dim) + " has " + std::to_string(axis.stride) +
          (axis.blocks > 1 ? " indices an anchor" : " indices") + ", too few for " +
          std::to_string(std::max<int64_t>(axis.classes, 1)) + " classes from " +
          std::to_string(axis.first) + " on");
  return {axis, Fit::kAlone};
}

/// How `classes` known classes fit the channels of a convolution once an anchor.
Match fit_anchors(const Graph& graph, Dim dim, int64_t classes, bool exact) {
  const int64_t all = extent(graph, dim);
  ClassAxis axis = {.dim = dim, .classes = classes, .first = kCoordinates + 1};
  const auto fits = [&](int64_t width) {
    axis.stride = width;
    axis.blocks = all / width;
    return all % width == 0 && axis.blocks <= kMostAnchors;
  };
  if (fits(axis.first + classes)) return {axis, Fit::kAnchors};
  axis.first = 0;
  // Multiples of so few could as well be boxes.
  if (classes > kCoordinates && fits(classes)) return {axis, Fit::kBare};
  axis.classes = classes + 1;
  if (!exact && axis.classes > kCoordinates && fits(axis.classes)) return {axis, Fit::kBare};
  return {};
}

/// How `classes` known classes fit an axis.
Match fit_known(const Graph& graph, Dim dim, int64_t classes, bool exact) {
  const int64_t all = extent(graph, dim);
  ClassAxis axis = {.dim = dim, .classes = classes, .stride = all};
  if (all == classes) return {axis, Fit::kAlone};
  if (!exact && all == classes + 1) return {whole(graph, dim), Fit::kBackground};
  int64_t offset = 0;
  for (int64_t part : parts_of_axis(graph, dim)) {
    axis.first = offset;
    if (part == classes && part != all) return {axis, Fit::kPart};
    offset += part;
  }
  for (int64_t before : {kCoordinates, kCoordinates + 1}) {
    axis.first = before;
    if (all == before + classes) return {axis, Fit::kBehindBoxes};
  }
  const bool channels = graph.shape(dim.value).size() == 4;
  return channels ? fit_anchors(graph, dim, classes, exact) : Match{};
}

/// The classes of an axis by its structure alone.
Match fit_unknown(const Graph& graph, Dim dim) {
  if (const std::optional<Part> part = part_beside_boxes(graph, dim))
    return {
        {.dim = dim, .classes = part->extent, .first = part->offset, .stride = extent(graph, dim)},
        Fit::kPart};
  return {whole(graph, dim), Fit::kAlone};
}

Match best_match(const Graph& graph, const Source& source, const ClassHints& hints) {
  const std::vector<int> axes = likely_axes(graph, source, hints);
  if (hints.first || hints.anchors) return spelled_out(graph, {source.value, axes.front()}, hints);
  Match best;
  for (int axis : axes) {
    const Dim dim = {source.value, axis};
    // Of [N, B, C] and [N, C, B], B is the longer: places are not what a Concat of parts is about.
    const bool places = hints.classes == 0 && axis != axes.front() &&
                        extent(graph, dim) > extent(graph, {source.value, axes.front()});
    if (places) continue;
    const Match match = hints.classes > 0 ? fit_known(graph, dim, hints.classes, hints.exact)
                                          : fit_unknown(graph, dim);
    // The likeliest that fits: a grid may have as many rows as there are classes. Without their
    // number, structure beats likelihood.
    if (best.fit == Fit::kNone || (hints.classes == 0 && match.fit == Fit::kPart)) best = match;
    if (hints.classes > 0 ? best.fit != Fit::kNone : match.fit == Fit::kPart) break;
  }
  return best;
}

// -- Which of them -----------------------------------------------------------------

std::string list_of(const Graph& graph, const std::vector<Match>& matches) {
  std::string list;
  for (const Match& match : matches)
    list += (list.empty() ? "" : ", ") + to_string(graph, match.axis.dim);
  return list;
}

bool same_form(const ClassAxis& a, const ClassAxis& b) {
  return a.classes == b.classes && a.first == b.first && a.stride == b.stride;
}

/// Levels of a pyramid: the same form at other places, not two classifiers side by side.
bool belong_together(const Graph& graph, const std::vector<Match>& matches) {
  return std::ranges::all_of(matches, [&](const Match& match) {
    return same_form(match.axis, matches[0].axis) && graph.shape(match.axis.dim.value).size() >= 3;
  });
}

/// Scores of the same classes once more: the slots are the same.
void drop_repeated(const Graph& graph, std::vector<Match>& matches) {
  std::vector<Dim> dims;
  for (const Match& match : matches) dims.push_back(match.axis.dim);
  const ChannelSlots slots = ChannelSlots::analyze(graph, dims);
  std::vector<uint32_t> seen;
  std::erase_if(matches, [&](const Match& match) {
    const uint32_t group = slots.group_of(match.axis.dim, match.axis.first);
    const bool repeated = std::ranges::find(seen, group) != seen.end();
    seen.push_back(group);
    return repeated;
  });
}

[[noreturn]] void none_fits(const Graph& graph, const std::vector<Source>& sources,
                            const ClassHints& hints) {
  if (hints.classes == 0 || sources.empty())
    usage("no output of the model looks like scores of classes; name one with output");
  std::string list;
  for (const Source& source : sources)
    list += (list.empty() ? "'" : ", '") + graph.value(source.value).name + "' " +
            to_string(graph.shape(source.value));
  usage("no axis of the outputs holds " + std::to_string(hints.classes) + " classes: " + list +
        "; say output, axis and, if the classes are only part of it, classes, first and anchors");
}

}  // namespace

std::string to_string(const Graph& graph, Dim dim) {
  return "axis " + std::to_string(dim.axis) + " of '" + graph.value(dim.value).name + "' " +
         to_string(graph.type(dim.value).shape);
}

ClassAxes find_class_axes(const Graph& graph, const ClassHints& hints) {
  const bool named = !hints.outputs.empty();
  const std::vector<Source> sources =
      named ? named_sources(graph, hints.outputs) : sources_of(graph);
  std::vector<Match> matches;
  for (const Source& source : sources) matches.push_back(best_match(graph, source, hints));
  const auto beside = [&](const Match& match) {
    if (match.fit != Fit::kAlone) return false;
    const bool listed = graph.shape(match.axis.dim.value).size() == 3;  // [N, boxes, 4]
    const int64_t all = extent(graph, match.axis.dim);
    return all == 1 || (listed && all == kCoordinates);
  };
  ClassAxes result;
  result.detector = std::ranges::any_of(matches, [](const Match& match) {
    return match.fit >= Fit::kPart && match.fit != Fit::kNone;
  });
  if (!named && hints.classes == 0 && !std::ranges::all_of(matches, beside))
    result.detector |= std::erase_if(matches, beside) > 0;
  const auto best = std::ranges::min_element(matches, {}, &Match::fit);
  if (best == matches.end() || best->fit == Fit::kNone) none_fits(graph, sources, hints);
  if (named && best != matches.end()) {
    for (const Match& match : matches)
      if (match.fit == Fit::kNone) none_fits(graph, sources, hints);
  } else {
    const Fit fit = best->fit;
    std::erase_if(matches, [&](const Match& match) { return match.fit != fit; });
  }
  const std::vector<Match> all = matches;
  if (matches.size() > 1) drop_repeated(graph, matches);
  if (matches.size() > 1 && !named && !belong_together(graph, matches))
    usage("more than one output may hold classes (" + list_of(graph, matches) +
          "); name one with output");
  for (const Match& match : all) {
    if (match.axis.classes != all[0].axis.classes)
      usage("the outputs do not hold the same number of classes (" + list_of(graph, all) + ")");
    result.axes.push_back(match.axis);
  }
  result.classes = all[0].axis.classes;
  return result;
}

}  // namespace pare
