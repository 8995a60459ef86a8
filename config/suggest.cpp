#include "config/suggest.h"

#include <algorithm>
#include <numeric>

namespace pare {
namespace {

/// Insertions, deletions, substitutions and swaps of neighbours between two words.
/// Source: optimal string alignment, a restriction of Damerau, Comm. ACM 7(3), 1964.
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> before(b.size() + 1), row(b.size() + 1), next(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    next[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      next[j] =
          std::min({row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] == b[j - 1] ? 0u : 1u)});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) next[j] = std::min(next[j], before[j - 2] + 1);
    }
    before = row;
    row = next;
  }
  return row[b.size()];
}

}  // namespace

std::optional<size_t> nearest(std::string_view word, const std::vector<std::string>& known) {
  size_t least = std::max<size_t>(word.size() / 2, 1) + 1;  // Farther is no misspelling.
  std::optional<size_t> best;
  for (size_t i = 0; i < known.size(); ++i) {
    const size_t distance = edit_distance(word, known[i]);
    if (distance < least) least = distance, best = i;
  }
  return best;
}

std::string suggestion(std::string_view word, const std::vector<std::string>& known) {
  const std::optional<size_t> best = nearest(word, known);
  return best ? ", did you mean '" + known[*best] + "'?" : "";
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

}  // namespace pare
