#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace pare {

/// The text of a pipeline and where it comes from.
struct PipelineSource {
  std::string text;
  std::string file;  ///< Its name in messages.
  /// Where files it includes are looked for; none for a ready pipeline, which includes ready ones.
  std::optional<std::filesystem::path> folder;
  std::filesystem::path identity;  ///< Tells it from others, whatever it was called by.
};

/// The file `name`, from `folder` where there is one, or else the ready pipeline of that name:
/// pipelines/classifier.yaml is `classifier` or `classifier.yaml` anywhere.
std::optional<PipelineSource> find_pipeline(const std::optional<std::filesystem::path>& folder,
                                            const std::string& name);

/// ", did you mean 'pipelines/prune.yaml'?" for the name of no pipeline, by the files beside it and
/// the ready ones, or what else may stand there.
std::string pipeline_suggestion(const std::optional<std::filesystem::path>& folder,
                                const std::string& name);

/// Names of the pipelines that come with the program.
std::vector<std::string> ready_pipelines();

}  // namespace pare
