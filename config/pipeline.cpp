#include "config/pipeline.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <set>
#include <sstream>

#include "config/suggest.h"
#include "support/error.h"

namespace pare {
namespace {

/// From 1; an empty file has no mark.
int line_of(const YAML::Node& node) { return std::max(node.Mark().line, 0) + 1; }

/// Turns the nodes of one file into passes; holds the file's name for messages.
class Reader {
 public:
  explicit Reader(std::string file) : file_(std::move(file)) {}

  Pipeline pipeline(const YAML::Node& root) const {
    if (!root.IsMap()) fail(root, "expected a pipeline with the key passes and a list under it");
    static const std::vector<std::string> kKeys = {"data", "description", "name", "passes", "seed"};
    Pipeline pipeline;
    bool has_passes = false;
    for (const auto& [key, value] : pairs(root)) {
      if (key == "name") {
        pipeline.name = word(value, key);
      } else if (key == "description") {
        pipeline.description = word(value, key);
      } else if (key == "seed") {
        pipeline.seed = seed(value);
      } else if (key == "data") {
        pipeline.data = Options(file_, line_of(value), key, options(key, value));
      } else if (key == "passes") {
        has_passes = true;
        pipeline.passes = passes(value);
      } else {
        const std::string hint = suggestion(key, kKeys);
        fail(value, "unknown key '" + key + "'" + hint + (hint.empty() ? "; " : " ") +
                        "known keys: " + joined(kKeys));
      }
    }
    if (!has_passes) fail(root, "has no key passes, expected a list of passes under it");
    return pipeline;
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

  std::vector<PassSpec> passes(const YAML::Node& node) const {
    if (!node.IsSequence()) fail(node, "passes must be a list, one '- name' a line");
    std::vector<PassSpec> passes;
    for (const YAML::Node& item : node) passes.push_back(pass(item));
    return passes;
  }

  PassSpec pass(const YAML::Node& item) const {
    YAML::Emitter text;
    text << YAML::BeginMap << YAML::Key << "passes" << YAML::Value << YAML::BeginSeq << item
         << YAML::EndSeq << YAML::EndMap;
    const std::string yaml = std::string(text.c_str()) + "\n";
    if (item.IsScalar())
      return {item.Scalar(), Options(file_, line_of(item), item.Scalar(), {}), yaml};
    if (!item.IsMap()) fail(item, "expected a pass: '- name' or '- name: {key: value}'");
    const auto entries = pairs(item);
    if (entries.empty()) fail(item, "expected a pass: '- name' or '- name: {key: value}'");
    if (entries.size() > 1)
      fail(item, "a pass has one name, found '" + entries[0].first + "' and '" + entries[1].first +
                     "'; indent its settings below it or put them in {}");
    const auto& [name, settings] = entries[0];
    return {name, Options(file_, line_of(item), name, options(name, settings)), yaml};
  }

  std::map<std::string, Options::Entry> options(const std::string& pass,
                                                const YAML::Node& settings) const {
    std::map<std::string, Options::Entry> entries;
    if (settings.IsNull()) return entries;
    if (!settings.IsMap()) fail(settings, pass + ": expected settings as {key: value}");
    for (const auto& [key, value] : pairs(settings)) {
      Options::Entry entry{.line = line_of(value)};
      if (value.IsScalar()) {
        entry.items.push_back(value.Scalar());
      } else if (value.IsSequence()) {
        entry.is_list = true;
        for (const YAML::Node& item : value) {
          if (!item.IsScalar())
            fail(item, pass + ": " + key + " holds something nested, expected plain values");
          entry.items.push_back(item.Scalar());
        }
      } else {
        fail(value, pass + ": " + key + " has no value, expected one or a list");
      }
      entries.emplace(key, std::move(entry));
    }
    return entries;
  }

  std::string file_;
};

/// The same in the text of a pipeline of this pass only.
void set_in_text(PassSpec& spec, const std::string& key, const YAML::Node& value) {
  YAML::Node node = YAML::Load(spec.text);
  if (node["passes"][0].IsScalar()) {
    YAML::Node map;
    map[spec.name] = YAML::Node(YAML::NodeType::Map);
    node["passes"][0] = map;
  }
  node["passes"][0][spec.name][key] = value;
  YAML::Emitter text;
  text << node;
  spec.text = std::string(text.c_str()) + "\n";
}

}  // namespace

Pipeline parse_pipeline_text(const std::string& text, const std::string& file) {
  YAML::Node root;
  try {
    root = YAML::Load(text);
    Pipeline pipeline = Reader(file).pipeline(root);
    pipeline.text = text;
    return pipeline;
  } catch (const YAML::Exception& error) {
    throw Error(ErrorKind::kUsage, file + ":" + std::to_string(error.mark.line + 1) +
                                       ": is no valid YAML: " + error.msg);
  }
}

Pipeline parse_pipeline(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  if (!file || !(text << file.rdbuf()))
    throw Error(ErrorKind::kUsage, path + ": cannot be read, expected a pipeline file");
  return parse_pipeline_text(text.str(), path.substr(path.rfind('/') + 1));
}

void change_setting(Pipeline& pipeline, const std::string& assignment) {
  const std::string option = "--set " + assignment;
  const auto fail = [&](const std::string& fact) {
    throw Error(ErrorKind::kUsage, option + ": " + fact);
  };
  const size_t equals = assignment.find('=');
  const std::string path = assignment.substr(0, equals);
  const size_t dot = path.find('.');
  const bool is_seed = path == "seed";
  if (equals == std::string::npos ||
      (!is_seed && (dot == std::string::npos || dot == 0 || dot + 1 == path.size())))
    fail("expected PASS.KEY=VALUE, as in prune-channels.macs=-35%");
  // Read as a pipeline of its own, so that a value means what it means in a file.
  const std::string value = assignment.substr(equals + 1);
  const std::string name = path.substr(0, dot), key = is_seed ? "" : path.substr(dot + 1);
  const Pipeline change = parse_pipeline_text(
      is_seed ? "{seed: " + value + ", passes: []}" : "passes: [x: {" + key + ": " + value + "}]",
      option);
  pipeline.text += "# " + option + "\n";
  if (is_seed) {
    pipeline.seed = change.seed;
    return;
  }
  Options::Entry entry = change.passes.at(0).options.entries().at(key);
  entry.line = 0;  // Not of the file; messages then name the pass.
  std::vector<std::string> known = {"data", "seed"};
  if (name == "data") {
    if (!pipeline.data) pipeline.data = Options("", 0, name, {});
    pipeline.data->set(key, entry);
    return;
  }
  bool found = false;
  for (PassSpec& spec : pipeline.passes) {
    known.push_back(spec.name);
    if (spec.name != name) continue;
    found = true;
    spec.options.set(key, entry);
    set_in_text(spec, key, YAML::Load(value));
  }
  if (!found) {
    const std::string hint = suggestion(name, known);
    fail("the pipeline has no pass '" + name + "'" +
         (hint.empty() ? ", only " + joined(known) : hint));
  }
}

void set_option(PassSpec& spec, const std::string& key, const Options::Entry& entry) {
  YAML::Node value;
  if (entry.is_list) {
    for (const std::string& item : entry.items) value.push_back(item);
  } else {
    value = entry.items.front();
  }
  spec.options.set(key, entry);
  set_in_text(spec, key, value);
}

}  // namespace pare
