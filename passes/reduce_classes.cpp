#include "passes/reduce_classes.h"

#include <algorithm>
#include <array>
#include <set>

#include "passes/class_cut.h"
#include "passes/class_indices.h"
#include "passes/class_labels.h"
#include "passes/class_request.h"
#include "passes/graph_edit.h"
#include "passes/merge_classes.h"
#include "passes/remove_slots.h"

namespace pare {
namespace {

/// More classes than any network has.
constexpr int64_t kMostClasses = 1 << 20;

[[noreturn]] void usage(const std::string& sentence) { throw Error(ErrorKind::kUsage, sentence); }

bool names_background(const std::string& label) {
  constexpr std::array kNames = {"background", "__background__", "_background_", "bg"};
  return std::ranges::find(kNames, label) != kNames.end();
}

/// Removes the classes that `kept` does not list; returns the slices of constants that went.
int64_t drop_classes(Graph& graph, const std::vector<ClassAxis>& axes,
                     const std::vector<int64_t>& kept) {
  {
    const ClassCut cut(graph, axes, kept);
    cap_top_k(graph, cut.slots(), cut.doomed());
  }
  const ClassCut cut(graph, axes, kept);
  const std::vector<ClassTable> tables = follow_class_indices(graph, cut.slots(), cut.doomed());
  const int64_t removed = remove_slots(graph, cut.slots(), cut.doomed());
  for (const ClassTable& table : tables) {
    const Tensor& rows = *graph.constant(graph.node(table.node).inputs[0]);
    replace_constant(graph, table.node, 0, gather(rows, table.axis, table.kept));
  }
  graph.infer_types();
  return removed;
}

class ReduceClasses final : public Pass {
 public:
  explicit ReduceClasses(const ReduceClassesOptions& options) : options_(options) {}

  std::string_view name() const override { return "reduce-classes"; }
  Effect effect() const override { return Effect::kLossy; }

  PassStats run(Graph& graph, PassContext& context) override {
    ClassLabels labels = labels_of(graph);
    const ClassAxes found = find_class_axes(graph, hints_for(labels));
    const int64_t shift = label_shift(labels, found);
    const std::vector<int64_t> kept = classes_to_keep(labels, found, shift);
    const bool all = std::ssize(kept) == found.classes;
    const bool merge = options_.others == ReduceClassesOptions::Others::kMerge && !all;
    if (!merge && !all && !background(labels, found, shift)) warn(graph, found, kept, context);
    const std::vector<std::string> outputs = ClassCut(graph, found.axes, kept).outputs();
    const int64_t removed = all     ? 0
                            : merge ? merge_classes(graph, found.axes, kept)
                                    : drop_classes(graph, found.axes, kept);
    PassStats stats = {{"classes before", found.classes},
                       {"classes kept", static_cast<int64_t>(kept.size())},
                       {"weight slices removed", removed},
                       {"labels", relabel(graph, labels, kept, shift, merge)}};
    for (const std::string& output : outputs) {
      std::string& list = std::get<std::string>(stats.emplace("output", "").first->second);
      list += (list.empty() ? "" : ", ") + output;
    }
    if (merge) stats["others"] = "merged into class " + std::to_string(kept.size());
    return stats;
  }

 private:
  ClassLabels labels_of(const Graph& graph) const {
    ClassLabels labels = labels_in_metadata(graph).value_or(ClassLabels{});
    if (!options_.labels.empty()) labels.names = options_.labels;
    return labels;
  }

  ClassHints hints_for(const ClassLabels& labels) const {
    ClassHints hints = options_.hints;
    hints.exact = hints.classes > 0;
    if (!hints.exact) hints.classes = std::ssize(labels.names);
    return hints;
  }

  /// The class of the first label; drops labels of a file's metadata that are of something else.
  int64_t label_shift(ClassLabels& labels, const ClassAxes& found) const {
    const int64_t shift = found.classes - std::ssize(labels.names);
    if (labels.names.empty() || shift == 0 || shift == 1) return labels.names.empty() ? 0 : shift;
    if (!options_.labels.empty())
      usage("there are " + std::to_string(labels.names.size()) + " labels, but " +
            std::to_string(found.classes) + " classes");
    labels.names.clear();
    return 0;
  }

  /// The class that stays whatever is kept.
  std::optional<int64_t> background(const ClassLabels& labels, const ClassAxes& found,
                                    int64_t shift) const {
    using Background = ReduceClassesOptions::Background;
    if (options_.background == Background::kNone) return {};
    if (options_.background == Background::kAt) {
      if (options_.background_class >= found.classes)
        usage("background: class " + std::to_string(options_.background_class) +
              " is not there, the network has " + std::to_string(found.classes) + " classes");
      return options_.background_class;
    }
    const bool first = shift == 1 || (!labels.names.empty() && names_background(labels.names[0]));
    return first ? std::optional<int64_t>(0) : std::nullopt;
  }

  std::vector<int64_t> classes_to_keep(const ClassLabels& labels, const ClassAxes& found,
                                       int64_t shift) const {
    std::vector<int64_t> kept = requested_classes(
        options_.keep, {.labels = labels.names, .shift = shift, .classes = found.classes});
    if (const std::optional<int64_t> stays = background(labels, found, shift)) {
      if (!std::ranges::binary_search(kept, *stays))
        kept.insert(std::ranges::upper_bound(kept, *stays), *stays);
    }
    return kept;
  }

  /// What dropping classes of a detector without a background may mean.
  void warn(const Graph& graph, const ClassAxes& found, const std::vector<int64_t>& kept,
            const PassContext& context) const {
    if (!found.detector || options_.background != ReduceClassesOptions::Background::kByLabels)
      return;
    if (classes_compete(graph, found.axes[0])) {
      context.warning(
          "a Softmax now divides each object among the kept classes alone, so others "
          "are taken for one of them; others: merge keeps scores as they were, "
          "background: INDEX a class that stands for none");
    } else if (kept.front() != 0) {
      context.warning(
          "class 0 goes too; if it is the background, as in most SSD networks, say "
          "background: 0");
    }
  }

  /// Rewrites the labels in the metadata and lists what each class is now.
  StatTable relabel(Graph& graph, ClassLabels& labels, const std::vector<int64_t>& kept,
                    int64_t shift, bool merged) const {
    StatTable table{.columns = {"class", "was", "label"}};
    std::vector<std::string> names;
    for (size_t i = 0; i < kept.size(); ++i) {
      const int64_t label = kept[i] - shift;
      std::string name = "class " + std::to_string(kept[i]);
      if (!labels.names.empty())
        name = label < 0 ? "background" : labels.names[static_cast<size_t>(label)];
      // Where the labels did not count the background they go on not to.
      if (label >= 0) names.push_back(name);
      table.rows.push_back({static_cast<int64_t>(i), kept[i], std::move(name)});
    }
    if (merged) {
      names.emplace_back("others");
      table.rows.push_back({std::ssize(table.rows), std::monostate{}, names.back()});
    }
    if (!labels.names.empty()) {
      labels.names = std::move(names);
      graph.metadata[labels.key] = to_text(labels);
    }
    return table;
  }

  ReduceClassesOptions options_;
};

std::vector<std::string> split_commas(const std::string& text) {
  std::vector<std::string> words;
  for (size_t at = 0; at <= text.size();) {
    const size_t comma = std::min(text.find(',', at), text.size());
    words.push_back(text.substr(at, comma - at));
    at = comma + 1;
  }
  return words;
}

/// Words of `keep`, a list or one text with commas; @FILE stands for the lines of a file.
std::vector<std::string> read_keep(Options& options) {
  const auto entry = options.entries().find("keep");
  const bool is_text = entry != options.entries().end() && !entry->second.is_list;
  std::vector<std::string> words, items = options.list("keep");
  if (is_text) items = split_commas(items.front());
  for (const std::string& item : items) {
    if (item.starts_with('@')) {
      for (std::string& line : read_label_lines(item.substr(1))) words.push_back(std::move(line));
    } else {
      words.push_back(item);
    }
  }
  if (words.empty()) options.fail("keep", "keep: a list of classes to keep is needed");
  for (const std::string& word : words)
    if (word.empty()) options.fail("keep", "keep: '' is no class, expected a label or an index");
  return words;
}

void read_background(Options& options, ReduceClassesOptions& result) {
  using Background = ReduceClassesOptions::Background;
  const std::string word = options.text("background", "");
  if (word.empty()) return;
  if (word == "no" || word == "false") {
    result.background = Background::kNone;
    return;
  }
  if (word.size() > 6 || word.find_first_not_of("0123456789") != std::string::npos)
    options.fail("background",
                 "background is '" + word + "', expected the index of a class, or no");
  result.background = Background::kAt;
  result.background_class = std::stoll(word);
}

}  // namespace

ReduceClassesOptions read_reduce_classes(Options& options) {
  ReduceClassesOptions result;
  result.keep = read_keep(options);
  const std::string labels = options.text("labels", "");
  if (!labels.empty()) result.labels = read_label_lines(labels);
  if (options.choice("others", "drop", {"drop", "merge"}) == "merge")
    result.others = ReduceClassesOptions::Others::kMerge;
  read_background(options, result);
  ClassHints& hints = result.hints;
  hints.outputs = options.list("output");
  std::erase(hints.outputs, "");
  const bool has_axis = options.has("axis"), has_first = options.has("first"),
             has_anchors = options.has("anchors");
  const int64_t axis = options.integer("axis", -1, -16, 16);
  const int64_t first = options.integer("first", 0, 0, kMostClasses);
  const int64_t anchors = options.integer("anchors", 1, 1, kMostClasses);
  if (has_axis) hints.axis = axis;
  if (has_first) hints.first = first;
  if (has_anchors) hints.anchors = anchors;
  const bool has_classes = options.has("classes");
  const int64_t classes = options.integer("classes", 1, 1, kMostClasses);
  if (has_classes) hints.classes = classes;
  return result;
}

std::unique_ptr<Pass> make_reduce_classes(const ReduceClassesOptions& options) {
  return std::make_unique<ReduceClasses>(options);
}

}  // namespace pare
