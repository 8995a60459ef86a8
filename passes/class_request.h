#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace pare {

/// What a request for classes is read against.
struct ClassNames {
  std::vector<std::string> labels;  ///< Empty: classes have no names.
  int64_t shift = 0;                ///< Class of the first label: 1 behind a background.
  int64_t classes = 0;
};

/// The classes `words` ask for, ascending: labels, indices of the network's classes from 0 on, and
/// ranges of indices such as 7-9. Throws Error(kUsage) for an unknown label (with the nearest one),
/// an index out of range, a class that stands twice, and no class at all.
std::vector<int64_t> requested_classes(const std::vector<std::string>& words,
                                       const ClassNames& names);

}  // namespace pare
