#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace pare {

/// ", did you mean 'ratio'?" with the word of `known` nearest to `word` by edit distance, or
/// nothing when none is near.
std::string suggestion(std::string_view word, const std::vector<std::string>& known);

/// "a, b, c".
std::string joined(const std::vector<std::string>& words);

}  // namespace pare
