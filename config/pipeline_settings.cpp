// What changes a pipeline that was read: --set, and options of the command line.

#include <yaml-cpp/yaml.h>

#include "config/pipeline.h"
#include "config/suggest.h"
#include "config/variables.h"
#include "support/error.h"

namespace pare {
namespace {

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

YAML::Node node_of(const Options::Entry& entry) {
  YAML::Node value;
  if (!entry.is_list) {
    value = escaped_dollars(entry.items.front());
    return value;
  }
  for (const std::string& item : entry.items) value.push_back(escaped_dollars(item));
  return value;
}

}  // namespace

Setting parse_setting(const std::string& assignment) {
  const size_t equals = assignment.find('=');
  const std::string path = assignment.substr(0, equals);
  const size_t dot = path.find('.');
  const bool is_seed = path == "seed";
  if (equals == std::string::npos ||
      (!is_seed && (dot == std::string::npos || dot == 0 || dot + 1 == path.size())))
    throw Error(ErrorKind::kUsage, "--set " + assignment +
                                       ": expected PASS.KEY=VALUE, as in prune-channels.macs=-35%");
  // Read as a pipeline of its own, so that a value means what it means in a file.
  const std::string value = assignment.substr(equals + 1);
  Setting setting{.text = assignment, .target = path.substr(0, dot)};
  const std::string option = "--set " + assignment;
  if (is_seed) {
    setting.seed =
        parse_pipeline_text("{seed: " + value + ", passes: []}", option).seed.value_or(0);
    return setting;
  }
  setting.key = path.substr(dot + 1);
  // A $ of the command line is one.
  const Pipeline change = parse_pipeline_text(
      "passes: [x: {" + setting.key + ": " + escaped_dollars(value) + "}]", option);
  setting.entry = change.passes.at(0).options.entries().at(setting.key);
  setting.entry.line = 0;  // Not of the file; messages then name the pass.
  return setting;
}

void change_setting(Pipeline& pipeline, const Setting& setting) {
  pipeline.text += "# --set " + setting.text + "\n";
  if (setting.target == "variables") return;  // Put in while the file was read.
  if (setting.target == "seed") {
    pipeline.seed = setting.seed;
    return;
  }
  std::vector<std::string> known = {"data", "seed", "variables"};
  if (setting.target == "data") {
    if (!pipeline.data) pipeline.data = Options("", 0, setting.target, {});
    pipeline.data->set(setting.key, setting.entry);
    return;
  }
  bool found = false;
  for (PassSpec& spec : pipeline.passes) {
    known.push_back(spec.name);
    if (spec.name != setting.target) continue;
    found = true;
    set_option(spec, setting.key, setting.entry);
  }
  if (!found) {
    const std::string hint = suggestion(setting.target, known);
    throw Error(ErrorKind::kUsage, "--set " + setting.text + ": the pipeline has no pass '" +
                                       setting.target + "'" +
                                       (hint.empty() ? ", only " + joined(known) : hint));
  }
}

void set_option(PassSpec& spec, const std::string& key, const Options::Entry& entry) {
  spec.options.set(key, entry);
  set_in_text(spec, key, node_of(entry));
}

}  // namespace pare
