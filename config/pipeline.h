#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "config/options.h"

namespace pare {

/// One step of a pipeline: which pass, with which settings. Passes are known by the registry
/// (passes/registry.h), not here.
struct PassSpec {
  std::string name;
  Options options;
  std::string text;  ///< YAML of a pipeline of this pass only.
};

/// A pipeline file: what to do to a model, in order.
///
///     name: prune-int8
///     data: {preset: imagenet}
///     variables: {macs: -30%}
///     passes:
///       - include: clean.yaml
///       - prune-channels: {macs: $macs}
///       - quantize-int8: {ranges: minmax}
struct Pipeline {
  std::string name;
  std::string description;
  std::optional<uint64_t> seed;
  std::optional<Options> data;  ///< How samples are prepared; read by whoever opens them.
  std::vector<PassSpec> passes;
  /// The file as it stands, for the report; where it has includes or variables, what they make of
  /// it.
  std::string text;
};

/// A change of one setting from outside the file: of a pass, of data, of a variable, or the seed.
struct Setting {
  std::string text;    ///< "prune-channels.macs=-35%", as it was given.
  std::string target;  ///< A pass, "data", "variables" or "seed".
  std::string key;
  Options::Entry entry;
  uint64_t seed = 0;
};

/// Reads "PASS.KEY=VALUE", "data.KEY=VALUE", "variables.NAME=VALUE" or "seed=N"; a value is written
/// as in the file, lists as [a, b]. Throws Error(kUsage) for anything else.
Setting parse_setting(const std::string& assignment);

/// Reads a pipeline file, or where there is none the ready pipeline of that name, with what it
/// includes; of `settings` those of variables count while it is
/// read. Throws Error(kUsage) naming file, line, fact and expectation.
Pipeline parse_pipeline(const std::string& path, const std::vector<Setting>& settings = {});

/// The same from text; `file` stands for it in messages, and includes are looked for in the working
/// directory.
Pipeline parse_pipeline_text(const std::string& text, const std::string& file);

/// Makes a change, in every pass of that name, and records it as a comment at the end of the text.
/// Throws Error(kUsage) where there is no such pass.
void change_setting(Pipeline& pipeline, const Setting& setting);

/// Sets a key of one pass, in its options and its text.
void set_option(PassSpec& spec, const std::string& key, const Options::Entry& entry);

}  // namespace pare
