#include "passes/class_request.h"

#include <charconv>
#include <map>
#include <optional>

#include "config/suggest.h"
#include "passes/class_labels.h"
#include "support/error.h"
#include "support/text_table.h"

namespace pare {
namespace {

[[noreturn]] void usage(const std::string& sentence) { throw Error(ErrorKind::kUsage, sentence); }

/// The digits `text` is; nothing when it is anything else. Too large a number is as good as any
/// that is out of range.
std::optional<int64_t> number(std::string_view text) {
  if (text.empty() || text.find_first_not_of("0123456789") != std::string_view::npos) return {};
  int64_t value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  return failure == std::errc() ? value : INT64_MAX;
}

struct Range {
  int64_t first, last;
};

/// An index or a range of them.
std::optional<Range> range(std::string_view word) {
  const size_t dash = word.find('-');
  const std::optional<int64_t> first = number(word.substr(0, dash));
  if (!first) return {};
  if (dash == std::string_view::npos) return Range{*first, *first};
  const std::optional<int64_t> last = number(word.substr(dash + 1));
  return last ? std::optional(Range{*first, *last}) : std::nullopt;
}

Range meant_by(const std::string& word, const ClassNames& names) {
  const std::string quoted = "'" + printable(word) + "'";
  if (const std::optional<Range> indices = range(word)) {
    if (indices->last < indices->first)
      usage("keep: " + quoted + " is a range that runs backwards");
    if (indices->last >= names.classes)
      usage("keep: class " + (indices->last == INT64_MAX ? quoted : std::to_string(indices->last)) +
            " is not there, the network has " + std::to_string(names.classes) +
            " classes, counted from 0");
    return *indices;
  }
  if (names.labels.empty())
    usage("keep: " + quoted + " is no index and no range such as 7-9, and the model's metadata " +
          "names no classes; give labels for names, or @FILE for a list");
  const std::optional<int64_t> label = find_label(names.labels, word);
  if (!label) {
    std::string hint = suggestion(word, names.labels);
    usage("keep: no class is called " + quoted +
          (hint.empty() ? ", expected one of the " + std::to_string(names.labels.size()) + " labels"
                        : hint));
  }
  return {*label + names.shift, *label + names.shift};
}

}  // namespace

std::vector<int64_t> requested_classes(const std::vector<std::string>& words,
                                       const ClassNames& names) {
  std::map<int64_t, const std::string*> asked;
  for (const std::string& word : words) {
    const Range meant = meant_by(word, names);
    for (int64_t i = meant.first; i <= meant.last; ++i) {
      const auto [before, is_new] = asked.emplace(i, &word);
      if (!is_new)
        usage("keep: class " + std::to_string(i) + " stands twice, as '" +
              printable(*before->second) + "' and '" + printable(word) + "'");
    }
  }
  std::vector<int64_t> classes;
  for (const auto& [index, word] : asked) classes.push_back(index);
  if (classes.empty()) usage("keep: a list of classes to keep is needed");
  return classes;
}

}  // namespace pare
