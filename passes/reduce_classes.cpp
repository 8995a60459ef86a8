#include "passes/reduce_classes.h"

#include <algorithm>
#include <charconv>
#include <set>

#include "ir/channel_slots.h"
#include "passes/remove_slots.h"

namespace pare {
namespace {

/// More classes than any network has, so that a mistyped range does not fill the memory.
constexpr int64_t kMostClasses = 1 << 20;

std::string where(const Graph& graph, Dim dim) {
  return "axis " + std::to_string(dim.axis) + " of '" + graph.value(dim.value).name + "' " +
         to_string(graph.type(dim.value).shape);
}

/// The axis that holds classes, by the shape's usual meaning.
int usual_axis(const Shape& shape) {
  return shape.size() == 4 || shape.size() == 5 ? 1 : static_cast<int>(shape.size()) - 1;
}

/// What an ArgMax was taken over.
std::optional<Dim> behind_arg_max(const Graph& graph, ValueId output) {
  const std::optional<NodeId> producer = graph.value(output).producer;
  if (!producer || graph.node(*producer).op != "ArgMax") return {};
  const Node& node = graph.node(*producer);
  const ValueId scores = node.inputs[0];
  if (!graph.type(scores).known()) return {};
  const auto rank = static_cast<int64_t>(graph.shape(scores).size());
  const int64_t axis = node.attribute("axis", int64_t{0});
  return Dim{scores, static_cast<int>(axis < 0 ? axis + rank : axis)};
}

std::vector<Dim> candidates(const Graph& graph) {
  std::vector<Dim> found;
  for (ValueId output : graph.outputs()) {
    const TensorType& type = graph.type(output);
    if (const std::optional<Dim> scores = behind_arg_max(graph, output)) {
      found.push_back(*scores);
    } else if (type.known() && is_float(type.dtype) && type.shape.size() >= 2) {
      const int axis = usual_axis(type.shape);
      if (type.shape[static_cast<size_t>(axis)] >= 2) found.push_back({output, axis});
    }
  }
  return found;
}

ValueId find_value(const Graph& graph, const std::string& name) {
  for (uint32_t i = 0; i < graph.value_count(); ++i) {
    const Value& value = graph.value(ValueId{i});
    if (value.name == name && (value.producer || graph.is_output(ValueId{i}))) return ValueId{i};
  }
  std::string outputs;
  for (ValueId id : graph.outputs())
    outputs += (outputs.empty() ? "'" : ", '") + graph.value(id).name + "'";
  throw Error(ErrorKind::kUsage, "the model has no output '" + name + "'; it has " + outputs);
}

Dim class_axis(const Graph& graph, const ReduceClassesOptions& options) {
  if (options.output.empty()) {
    const std::vector<Dim> found = candidates(graph);
    if (found.empty())
      throw Error(ErrorKind::kUsage,
                  "no output of the model looks like scores of classes; name one with output");
    if (found.size() > 1) {
      std::string list;
      for (Dim dim : found) list += (list.empty() ? "" : ", ") + where(graph, dim);
      throw Error(ErrorKind::kUsage,
                  "more than one output may hold classes (" + list + "); name one with output");
    }
    if (!options.axis) return found[0];
  }
  const ValueId value =
      options.output.empty() ? candidates(graph)[0].value : find_value(graph, options.output);
  const Shape& shape = graph.shape(value);
  const auto rank = static_cast<int64_t>(shape.size());
  const int64_t axis = options.axis ? *options.axis : usual_axis(shape);
  if (axis < -rank || axis >= rank)
    throw Error(ErrorKind::kUsage, "axis " + std::to_string(axis) + " is outside of '" +
                                       graph.value(value).name + "' " + to_string(shape));
  return {value, static_cast<int>(axis < 0 ? axis + rank : axis)};
}

class ReduceClasses final : public Pass {
 public:
  explicit ReduceClasses(const ReduceClassesOptions& options) : options_(options) {}

  std::string_view name() const override { return "reduce-classes"; }
  Effect effect() const override { return Effect::kLossy; }

  PassStats run(Graph& graph, PassContext&) override {
    PARE_CHECK(!options_.keep.empty(), "no class is to be kept");
    const Dim classes = class_axis(graph, options_);
    const ChannelSlots slots = ChannelSlots::analyze(graph, {classes});
    const int64_t before = slots.extent(classes);
    if (options_.keep.back() >= before)
      throw Error(ErrorKind::kUsage, "class " + std::to_string(options_.keep.back()) +
                                         " is to be kept, but " + where(graph, classes) + " has " +
                                         std::to_string(before) + ", counted from 0");
    const std::set<uint32_t> doomed = doomed_groups(graph, slots, classes);
    const int64_t slices =
        remove_slots(graph, slots, [&](uint32_t group) { return doomed.contains(group); });
    return {{"classes before", before},
            {"classes kept", static_cast<int64_t>(options_.keep.size())},
            {"output", graph.value(classes.value).name},
            {"weight slices removed", slices}};
  }

 private:
  std::set<uint32_t> doomed_groups(const Graph& graph, const ChannelSlots& slots,
                                   Dim classes) const {
    std::set<uint32_t> kept, doomed;
    for (int64_t i : options_.keep) kept.insert(slots.group_of(classes, i));
    for (int64_t i = 0; i < slots.extent(classes); ++i) {
      if (std::ranges::binary_search(options_.keep, i)) continue;
      const uint32_t group = slots.group_of(classes, i);
      const std::string place = "class " + std::to_string(i) + " of " + where(graph, classes);
      if (slots.pinned(group))
        throw Error(ErrorKind::kUnsupported,
                    place + " cannot be removed, because " + slots.pin(group));
      if (kept.contains(group))
        throw Error(ErrorKind::kUnsupported,
                    place + " cannot be removed, because it shares weights with a class to keep");
      doomed.insert(group);
    }
    return doomed;
  }

  ReduceClassesOptions options_;
};

/// A class index, all of `text`.
int64_t parse_index(Options& options, const std::string& word, std::string_view text) {
  int64_t value = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0 ||
      value >= kMostClasses)
    options.fail("keep", "'" + word + "' is no class index and no range such as 7-9");
  return value;
}

}  // namespace

ReduceClassesOptions read_reduce_classes(Options& options) {
  ReduceClassesOptions result;
  std::set<int64_t> keep;
  for (const std::string& word : options.list("keep")) {
    const size_t dash = word.find('-', 1);
    const std::string_view text = word;
    const int64_t first = parse_index(options, word, text.substr(0, dash));
    const int64_t last =
        dash == std::string::npos ? first : parse_index(options, word, text.substr(dash + 1));
    if (last < first) options.fail("keep", "'" + word + "' is a range that runs backwards");
    for (int64_t i = first; i <= last; ++i) keep.insert(i);
  }
  result.keep.assign(keep.begin(), keep.end());
  result.output = options.text("output", "");
  const bool has_axis = options.has("axis");
  const int64_t axis = options.integer("axis", -1, -16, 16);
  if (has_axis) result.axis = axis;
  if (keep.empty()) options.fail("keep", "a list of class indices to keep is needed");
  return result;
}

std::unique_ptr<Pass> make_reduce_classes(const ReduceClassesOptions& options) {
  return std::make_unique<ReduceClasses>(options);
}

}  // namespace pare
