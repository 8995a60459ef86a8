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
///     passes:
///       - fold-batch-norm
///       - prune-channels: {macs: -30%}
///       - quantize-int8: {ranges: minmax}
struct Pipeline {
  std::string name;
  std::string description;
  std::optional<uint64_t> seed;
  std::optional<Options> data;  ///< How samples are prepared; read by whoever opens them.
  std::vector<PassSpec> passes;
  std::string text;  ///< The file as it stands, for the report.
};

/// Reads a pipeline file. Throws Error(kUsage) naming file, line, fact and expectation.
Pipeline parse_pipeline(const std::string& path);

/// The same from text; `file` stands for it in messages.
Pipeline parse_pipeline_text(const std::string& text, const std::string& file);

/// Changes one setting: "PASS.KEY=VALUE" in every pass of that name, "data.KEY=VALUE", or "seed=N";
/// a value is written as in the file, lists as [a, b]. Recorded as a comment at the end of the
/// text. Throws Error(kUsage) where there is no such pass.
void change_setting(Pipeline& pipeline, const std::string& assignment);

/// Sets a key of one pass, in its options and its text.
void set_option(PassSpec& spec, const std::string& key, const Options::Entry& entry);

}  // namespace pare
