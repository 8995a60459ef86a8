#include "cli/class_arguments.h"

#include <algorithm>
#include <filesystem>

#include "support/file.h"

namespace pare {
namespace {

constexpr const char* kPass = "reduce-classes";
constexpr const char* kGroup = "Keeping some classes (reduce-classes)";

PassSpec* find_pass(Pipeline& pipeline) {
  const auto found = std::ranges::find(pipeline.passes, kPass, &PassSpec::name);
  return found == pipeline.passes.end() ? nullptr : &*found;
}

std::string as_comment(const std::string& text) {
  std::string comment = "# ";
  for (char c : text) {
    comment += c;
    if (c == '\n') comment += "# ";
  }
  comment.erase(comment.find_last_not_of("# \n") + 1);
  return comment + "\n";
}

}  // namespace

void ClassArguments::add_to(CLI::App& command) {
  command
      .add_option("--keep-classes", keep,
                  "Keep only these classes: labels, indices and ranges with commas between "
                  "(person,car,3,7-9), or @FILE with one a line")
      ->type_name("LIST")
      ->group(kGroup);
  command
      .add_option("--labels", labels,
                  "Label of every class, one a line (default: the model's metadata)")
      ->type_name("FILE")
      ->group(kGroup);
  command.add_option("--others", others, "What becomes of the other classes")
      ->type_name("drop|merge")
      ->group(kGroup);
  command
      .add_option("--background", background,
                  "Class that stays whatever is kept, or no (default: as the labels say)")
      ->type_name("INDEX|no")
      ->group(kGroup);
  command
      .add_option("--class-output", outputs,
                  "Output that holds the classes, where it is not clear; patterns do. Repeatable")
      ->type_name("NAME")
      ->allow_extra_args(false)
      ->group(kGroup);
  command.add_option("--class-axis", axis, "Its class axis, where it is not clear")->group(kGroup);
  command.add_option("--classes", classes, "How many classes there are, where labels do not say")
      ->group(kGroup);
  command
      .add_option("--labels-out", labels_out,
                  "File that takes the labels of the kept classes (default: the written model's "
                  "name with .labels.txt)")
      ->type_name("FILE")
      ->group(kGroup);
}

void ClassArguments::apply(Pipeline& pipeline) const {
  std::vector<std::pair<std::string, Options::Entry>> settings;
  const auto set = [&](const char* key, std::vector<std::string> items, bool is_list) {
    settings.emplace_back(key, Options::Entry{.items = std::move(items), .is_list = is_list});
  };
  if (!keep.empty()) set("keep", {keep}, false);
  if (!labels.empty()) set("labels", {labels}, false);
  if (!others.empty()) set("others", {others}, false);
  if (!background.empty()) set("background", {background}, false);
  if (!outputs.empty()) set("output", outputs, true);
  if (axis) set("axis", {std::to_string(*axis)}, false);
  if (classes) set("classes", {std::to_string(*classes)}, false);
  PassSpec* pass = find_pass(pipeline);
  if (!pass) {
    if (settings.empty() && labels_out.empty()) return;
    if (keep.empty())
      throw Error(ErrorKind::kUsage,
                  "--keep-classes is needed with the other options that keep classes, as the "
                  "pipeline has no reduce-classes");
    Pipeline first = parse_pipeline_text("passes: [reduce-classes]\n", "--keep-classes");
    pipeline.passes.insert(pipeline.passes.begin(), first.passes.front());
    pass = &pipeline.passes.front();
  }
  for (auto& [key, entry] : settings) set_option(*pass, key, entry);
  if (!settings.empty()) pipeline.text += "# with --keep-classes:\n" + as_comment(pass->text);
}

std::string ClassArguments::labels_file(const Pipeline& pipeline, const std::string& model) const {
  const bool reduces =
      std::ranges::find(pipeline.passes, kPass, &PassSpec::name) != pipeline.passes.end();
  if (!reduces) return {};
  if (!labels_out.empty()) return labels_out;
  return std::filesystem::path(model).replace_extension(".labels.txt").string();
}

void write_labels(const std::string& path, const std::vector<PassRecord>& records) {
  for (auto last = records.rbegin(); last != records.rend(); ++last) {
    const PassRecord& record = *last;
    const auto labels = record.stats.find("labels");
    if (record.pass != kPass || labels == record.stats.end()) continue;
    std::string text;
    for (const auto& row : std::get<StatTable>(labels->second).rows)
      text += std::get<std::string>(row.back()) + "\n";
    write_file(path, [&](const auto& append) { append(std::as_bytes(std::span(text))); });
    return;
  }
}

}  // namespace pare
