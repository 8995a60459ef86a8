#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pare {

/// Index of the word of `known` that is nearest to `word` by edit distance; none where none is
/// near.
std::optional<size_t> nearest(std::string_view word, const std::vector<std::string>& known);

/// ", did you mean 'ratio'?" with the word of `known` nearest to `word` by edit distance, or
/// nothing when none is near.
std::string suggestion(std::string_view word, const std::vector<std::string>& known);

/// "a, b, c".
std::string joined(const std::vector<std::string>& words);

}  // namespace pare
