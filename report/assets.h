#pragma once

#include <string_view>

namespace pare {

// Inside this folder: files compiled into the program (cmake/PareEmbed.cmake).

std::string_view page_style();     ///< report/page/report.css
std::string_view page_kit();       ///< report/page/kit.js
std::string_view page_script();    ///< report/page/report.js
std::string_view chart_library();  ///< Chart.js, MIT licence, as Debian packages it.

}  // namespace pare
