#pragma once

#include <string>

namespace pare {

/// A page of its own, with everything it needs in it: `json` (a run report or a comparison, as
/// to_json() writes it) and the script that shows it as tables and charts. It asks the network for
/// nothing, and its Content-Security-Policy allows nothing but the scripts and the style it holds.
std::string html_page(const std::string& title, const std::string& json);

}  // namespace pare
