#pragma once

#include <span>
#include <string_view>

#include "calib/preprocess.h"
#include "config/options.h"

namespace pare {

/// One setting of how samples are prepared: a key of a pipeline's `data:` block and, with two
/// dashes, an option of every command that takes --data.
struct DataKey {
  std::string_view key;
  std::string_view type;     ///< As in OptionInfo, passes/registry.h.
  std::string_view summary;  ///< One line.
};

/// In the order they are documented in; the only list of them.
std::span<const DataKey> data_keys();

/// `base` changed by what `options` say: a preset replaces it, the other keys change parts of it.
/// Reads every key of data_keys() and rejects others. Throws Error(kUsage).
Preprocess read_preprocess(Options& options, const Preprocess& base);

}  // namespace pare
