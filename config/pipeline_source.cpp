#include "config/pipeline_source.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <sstream>
#include <string_view>

#include "config/ready_files.h"
#include "config/suggest.h"

namespace pare {
namespace {

namespace fs = std::filesystem;

struct Ready {
  std::string_view name;
  std::string_view (*text)();
};

constexpr std::array<Ready, 9> kReady = {{{"classes", ready_classes},
                                          {"classifier", ready_classifier},
                                          {"clean", ready_clean},
                                          {"cpu", ready_cpu},
                                          {"detector", ready_detector},
                                          {"dpu", ready_dpu},
                                          {"int8", ready_int},
                                          {"prune", ready_prune},
                                          {"prune-int8", ready_prune_int}}};

std::optional<std::string> text_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  if (!file || !(text << file.rdbuf())) return {};
  return text.str();
}

bool is_yaml(const fs::path& path) {
  return path.extension() == ".yaml" || path.extension() == ".yml";
}

std::string stem_of(const fs::path& path) {
  return (is_yaml(path) ? path.stem() : path.filename()).string();
}

}  // namespace

std::optional<PipelineSource> find_pipeline(const std::optional<fs::path>& folder,
                                            const std::string& name) {
  if (folder) {
    const fs::path path = *folder / name;
    if (std::optional<std::string> text = text_of(path)) {
      std::error_code failure;
      const fs::path real = fs::weakly_canonical(path, failure);
      return PipelineSource{std::move(*text), path.filename().string(), real.parent_path(), real};
    }
  }
  for (const Ready& ready : kReady) {
    const std::string file = std::string(ready.name) + ".yaml";
    if (name == ready.name || name == file)
      return PipelineSource{std::string(ready.text()), file, {}, "ready " + file};
  }
  return {};
}

std::string pipeline_suggestion(const std::optional<fs::path>& folder, const std::string& name) {
  std::vector<std::string> words, stems;
  std::error_code failure;
  const fs::path path = folder.value_or(fs::path()) / name;
  const fs::path beside = path.has_parent_path() ? path.parent_path() : fs::path(".");
  if (fs::exists(path, failure)) return ", expected a pipeline file";
  for (const fs::directory_entry& entry : fs::directory_iterator(beside, failure))
    if (is_yaml(entry.path()))
      words.push_back((fs::path(name).parent_path() / entry.path().filename()).string());
  std::ranges::sort(words);  // A folder lists its files in any order.
  for (const std::string& ready : ready_pipelines()) words.push_back(ready);
  for (const std::string& word : words) stems.push_back(stem_of(word));
  const std::optional<size_t> best = nearest(stem_of(name), stems);
  return best ? ", did you mean '" + words[*best] + "'?"
              : ", expected a pipeline file or one of " + joined(ready_pipelines());
}

std::vector<std::string> ready_pipelines() {
  std::vector<std::string> names;
  for (const Ready& ready : kReady) names.emplace_back(ready.name);
  return names;
}

}  // namespace pare
