#include "config/pipeline.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <set>

#include "config/pipeline_source.h"
#include "config/suggest.h"
#include "config/variables.h"
#include "support/error.h"

namespace pare {
namespace {

namespace fs = std::filesystem;

/// From 1; an empty file has no mark.
int line_of(const YAML::Node& node) { return std::max(node.Mark().line, 0) + 1; }

void emit(YAML::Emitter& out, const std::map<std::string, Options::Entry>& entries) {
  out << YAML::Flow << YAML::BeginMap;
  for (const auto& [key, entry] : entries) {
    out << YAML::Key << key << YAML::Value;
    if (entry.is_list) {
      out << YAML::Flow << YAML::BeginSeq;
      for (const std::string& item : entry.items) out << escaped_dollars(item);
      out << YAML::EndSeq;
    } else {
      out << escaped_dollars(entry.items.front());
    }
  }
  out << YAML::EndMap;
}

void emit(YAML::Emitter& out, const std::string& pass,
          const std::map<std::string, Options::Entry>& entries) {
  if (entries.empty()) {
    out << pass;
    return;
  }
  out << YAML::BeginMap << YAML::Key << pass << YAML::Value;
  emit(out, entries);
  out << YAML::EndMap;
}

std::string finished(const YAML::Emitter& out) { return std::string(out.c_str()) + "\n"; }

/// What a pipeline says once its includes and variables are put in.
std::string resolved_text(const Pipeline& pipeline, const std::string& file) {
  YAML::Emitter out;
  out << YAML::Comment(file + " with its includes and variables put in") << YAML::BeginMap;
  if (!pipeline.name.empty()) out << YAML::Key << "name" << YAML::Value << pipeline.name;
  if (!pipeline.description.empty())
    out << YAML::Key << "description" << YAML::Value << pipeline.description;
  if (pipeline.seed) out << YAML::Key << "seed" << YAML::Value << *pipeline.seed;
  if (pipeline.data) {
    out << YAML::Key << "data" << YAML::Value;
    emit(out, pipeline.data->entries());
  }
  out << YAML::Key << "passes" << YAML::Value << YAML::BeginSeq;
  for (const PassSpec& spec : pipeline.passes) emit(out, spec.name, spec.options.entries());
  out << YAML::EndSeq << YAML::EndMap;
  return finished(out);
}

/// Values of variables from outside a file: an include's, or those of --set.
using Given = std::map<std::string, Options::Entry>;

/// `stack` as Reader takes it. Throws Error(kUsage) naming file and line.
Pipeline parse(const PipelineSource& source, std::vector<fs::path> stack, const Given& given);

/// Turns the nodes of one file into passes.
class Reader {
 public:
  /// `file` is its name in messages, `folder` where its includes are looked for (PipelineSource);
  /// `stack` the identities of the files that include each other up to this one.
  Reader(std::string file, std::optional<fs::path> folder, std::vector<fs::path> stack)
      : file_(std::move(file)), folder_(std::move(folder)), stack_(std::move(stack)) {}

  Pipeline pipeline(const YAML::Node& root, const Given& given) {
    if (!root.IsMap()) fail(root, "expected a pipeline with the key passes and a list under it");
    static const std::vector<std::string> kKeys = {"data",   "description", "name",
                                                   "passes", "seed",        "variables"};
    const auto entries = pairs(root);
    for (const auto& [key, value] : entries)
      if (key == "variables") define(value);
    override_with(root, given);
    bool has_passes = false;
    for (const auto& [key, value] : entries) {
      if (key == "name") {
        pipeline_.name = word(value, key);
      } else if (key == "description") {
        pipeline_.description = word(value, key);
      } else if (key == "seed") {
        pipeline_.seed = seed(value);
      } else if (key == "data") {
        pipeline_.data = Options(file_, line_of(value), key, options(key, value));
      } else if (key == "passes") {
        has_passes = true;
        passes(value);
      } else if (key != "variables") {
        const std::string hint = suggestion(key, kKeys);
        fail(value, "unknown key '" + key + "'" + hint + (hint.empty() ? "; " : " ") +
                        "known keys: " + joined(kKeys));
      }
    }
    if (!has_passes) fail(root, "has no key passes, expected a list of passes under it");
    for (const std::string& name : variables_.unused())
      fail(root, "variable '" + name + "' is used nowhere, expected $" + name + " in a setting");
    if (composed_) pipeline_.text = resolved_text(pipeline_, file_);
    return std::move(pipeline_);
  }

 private:
  [[noreturn]] void fail(const YAML::Node& node, const std::string& sentence) const {
    throw Error(ErrorKind::kUsage, file_ + ":" + std::to_string(line_of(node)) + ": " + sentence);
  }

  /// Keys and values of a map in the file's order; yaml-cpp lets a key stand twice.
  std::vector<std::pair<std::string, YAML::Node>> pairs(const YAML::Node& map) const {
    std::vector<std::pair<std::string, YAML::Node>> pairs;
    std::set<std::string> keys;
    for (const auto& item : map) {
      if (!item.first.IsScalar()) fail(item.first, "expected a word as key");
      const std::string& key = item.first.Scalar();
      if (!keys.insert(key).second) fail(item.first, "key '" + key + "' stands twice");
      pairs.emplace_back(key, item.second);
    }
    return pairs;
  }

  std::string word(const YAML::Node& node, const std::string& key) const {
    if (!node.IsScalar()) fail(node, key + " must be a single value");
    return node.Scalar();
  }

  uint64_t seed(const YAML::Node& node) const {
    const std::string text = word(node, "seed");
    uint64_t value = 0;
    const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (failure != std::errc() || end != text.data() + text.size())
      fail(node, "seed is '" + text + "', expected a whole number of 0 or more");
    return value;
  }

  // -- Variables -------------------------------------------------------------------

  void define(const YAML::Node& node) {
    if (!node.IsMap()) fail(node, "variables must be {name: value}");
    composed_ = true;
    for (const auto& [name, value] : pairs(node)) {
      if (!is_variable_name(name))
        fail(value, "'" + name + "' is no name of a variable, expected letters, digits, _ and -");
      variables_.define(name, entry("variables", name, value));
    }
  }

  void override_with(const YAML::Node& root, const Given& given) {
    for (const auto& [name, value] : given) {
      if (!variables_.has(name)) {
        const std::string hint = suggestion(name, variables_.names());
        fail(root, "has no variable '" + name + "'" +
                       (!hint.empty()        ? hint
                        : variables_.empty() ? ", nor any other"
                                             : ", only " + joined(variables_.names())));
      }
      variables_.define(name, value);
    }
  }

  // -- Passes ------------------------------------------------------------------------

  void passes(const YAML::Node& node) {
    if (!node.IsSequence()) fail(node, "passes must be a list, one '- name' a line");
    for (const YAML::Node& item : node) pass(item);
  }

  void pass(const YAML::Node& item) {
    if (item.IsScalar()) return add(item.Scalar(), item, {});
    if (!item.IsMap()) fail(item, "expected a pass: '- name' or '- name: {key: value}'");
    const auto entries = pairs(item);
    if (entries.empty()) fail(item, "expected a pass: '- name' or '- name: {key: value}'");
    if (entries.size() > 1)
      fail(item, "a pass has one name, found '" + entries[0].first + "' and '" + entries[1].first +
                     "'; indent its settings below it or put them in {}");
    const auto& [name, settings] = entries[0];
    if (name == "include") return include(item, settings);
    add(name, item, options(name, settings));
  }

  void add(const std::string& name, const YAML::Node& item,
           std::map<std::string, Options::Entry> entries) {
    YAML::Emitter text;
    text << YAML::BeginMap << YAML::Key << "passes" << YAML::Value << YAML::BeginSeq;
    emit(text, name, entries);
    text << YAML::EndSeq << YAML::EndMap;
    pipeline_.passes.push_back(
        {name, Options(file_, line_of(item), name, std::move(entries)), finished(text)});
  }

  std::map<std::string, Options::Entry> options(const std::string& pass,
                                                const YAML::Node& settings) {
    std::map<std::string, Options::Entry> entries;
    if (settings.IsNull()) return entries;
    if (!settings.IsMap()) fail(settings, pass + ": expected settings as {key: value}");
    for (const auto& [key, value] : pairs(settings)) {
      Options::Entry setting = entry(pass, key, value);
      if (const std::string wrong = variables_.expand(setting); !wrong.empty())
        fail(value, pass + ": " + key + ": " + wrong);
      entries.emplace(key, std::move(setting));
    }
    return entries;
  }

  /// A value as it is written.
  Options::Entry entry(const std::string& pass, const std::string& key,
                       const YAML::Node& value) const {
    Options::Entry entry{.line = line_of(value)};
    if (value.IsScalar()) {
      entry.items.push_back(value.Scalar());
      return entry;
    }
    if (!value.IsSequence())
      fail(value, pass + ": " + key + " has no value, expected one or a list");
    entry.is_list = true;
    for (const YAML::Node& item : value) {
      if (!item.IsScalar())
        fail(item, pass + ": " + key + " holds something nested, expected plain values");
      entry.items.push_back(item.Scalar());
    }
    return entry;
  }

  // -- Includes ------------------------------------------------------------------------

  void include(const YAML::Node& item, const YAML::Node& what) {
    composed_ = true;
    Given given;
    if (what.IsMap()) given = options("include", what);
    std::string name;
    if (what.IsScalar()) {
      name = what.Scalar();
    } else if (const auto file = given.find("file"); file != given.end() && !file->second.is_list) {
      name = file->second.items.front();
      given.erase(file);
    } else {
      fail(item,
           "include: expected a file, as in 'include: clean.yaml' or "
           "'include: {file: prune.yaml, macs: -40%}'");
    }
    const std::optional<PipelineSource> source = find_pipeline(folder_, name);
    if (!source)
      fail(item, "include: " + (folder_.value_or(fs::path()) / name).string() + " cannot be read" +
                     pipeline_suggestion(folder_, name));
    if (std::ranges::find(stack_, source->identity) != stack_.end())
      fail(item, "include: " + name + " includes itself");
    std::vector<fs::path> stack = stack_;
    stack.push_back(source->identity);
    Pipeline included = parse(*source, std::move(stack), given);
    std::ranges::move(included.passes, std::back_inserter(pipeline_.passes));
    if (!pipeline_.data) pipeline_.data = included.data;
    if (!pipeline_.seed) pipeline_.seed = included.seed;
  }

  std::string file_;
  std::optional<fs::path> folder_;
  std::vector<fs::path> stack_;
  Variables variables_;
  bool composed_ = false;  ///< The file alone does not say what is run.
  Pipeline pipeline_;
};

Pipeline parse(const PipelineSource& source, std::vector<fs::path> stack, const Given& given) {
  try {
    Pipeline pipeline = Reader(source.file, source.folder, std::move(stack))
                            .pipeline(YAML::Load(source.text), given);
    if (pipeline.text.empty()) pipeline.text = source.text;
    return pipeline;
  } catch (const YAML::Exception& error) {
    throw Error(ErrorKind::kUsage, source.file + ":" + std::to_string(error.mark.line + 1) +
                                       ": is no valid YAML: " + error.msg);
  }
}

}  // namespace

Pipeline parse_pipeline_text(const std::string& text, const std::string& file) {
  return parse({.text = text, .file = file, .folder = ".", .identity = {}}, {}, {});
}

Pipeline parse_pipeline(const std::string& path, const std::vector<Setting>& settings) {
  const std::optional<PipelineSource> source = find_pipeline(fs::path(), path);
  if (!source)
    throw Error(ErrorKind::kUsage, path + ": cannot be read" + pipeline_suggestion({}, path));
  Given given;
  for (const Setting& setting : settings)
    if (setting.target == "variables") given[setting.key] = setting.entry;
  return parse(*source, {source->identity}, given);
}

}  // namespace pare
