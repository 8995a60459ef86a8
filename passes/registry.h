#pragma once

#include <memory>
#include <span>
#include <string_view>

#include "config/pipeline.h"
#include "passes/pass.h"

namespace pare {

/// One setting of a pass, as it is documented.
struct OptionInfo {
  std::string_view key;
  std::string_view type;      ///< "number", "integer", "true/false", "list", "a | b".
  std::string_view fallback;  ///< What holds when it is left out.
  std::string_view summary;   ///< One line.
};

/// One pass a pipeline may name. The table is the only list of passes: the command line's help, the
/// pipeline file, the documentation and the tests all read it.
struct PassInfo {
  std::string_view name;
  std::string_view summary;  ///< One line.
  Effect effect;
  std::span<const OptionInfo> options;
  /// Reads every key of `options` and no other.
  std::unique_ptr<Pass> (*make)(Options& options);
};

/// By name.
std::span<const PassInfo> all_passes();

/// The pass a pipeline names, with its settings. Throws Error(kUsage) that names the known passes
/// when it is none of them, and for settings the pass does not take.
std::unique_ptr<Pass> make_pass(const PassSpec& spec);

}  // namespace pare
