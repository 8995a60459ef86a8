#pragma once

#include <string_view>

namespace pare {

/// True when `pattern` stands for the whole of `text`: * is any run of characters, ? any one.
bool matches_glob(std::string_view pattern, std::string_view text);

}  // namespace pare
