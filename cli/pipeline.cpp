#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/arguments.h"
#include "cli/command.h"
#include "cli/data_options.h"
#include "passes/registry.h"
#include "support/text_table.h"

namespace pare {
namespace {

using Json = nlohmann::ordered_json;
using Align = TextTable::Align;

/// Words between " | ".
std::vector<std::string> choices_of(std::string_view type) {
  constexpr std::string_view kBar = " | ";
  std::vector<std::string> words;
  for (size_t at = 0; at <= type.size();) {
    const size_t bar = std::min(type.find(kBar, at), type.size());
    words.emplace_back(type.substr(at, bar - at));
    at = bar + kBar.size();
  }
  return words;
}

Json one_of_types(std::initializer_list<const char*> types) {
  Json list = Json::array();
  for (const char* type : types) list.push_back(type);
  return {{"type", std::move(list)}};
}

/// `schema`, or a variable that stands for such a value.
Json or_variable(Json schema) {
  return {{"anyOf", Json::array({std::move(schema), {{"$ref", "#/$defs/variable"}}})}};
}

/// What a setting's documented type is in JSON Schema.
Json schema_of(std::string_view type) {
  if (type == "number" || type == "integer") return or_variable({{"type", type}});
  if (type == "true/false") return or_variable({{"type", "boolean"}});
  if (type == "list" || type == "numbers") {
    const Json scalar =
        type == "list" ? one_of_types({"string", "number"}) : one_of_types({"number"});
    Json list = {{"anyOf", Json::array({{{"type", "array"}, {"items", scalar}}, scalar})}};
    if (type == "numbers") list["anyOf"].push_back({{"$ref", "#/$defs/variable"}});
    return list;
  }
  if (type.find(" | ") == std::string_view::npos) return one_of_types({"string", "number"});
  const std::vector<std::string> words = choices_of(type);
  Json values = words;
  // YAML 1.1 readers, most editors among them, take yes and no for booleans.
  if (std::ranges::find(words, "yes") != words.end()) values.push_back(true);
  if (std::ranges::find(words, "no") != words.end()) values.push_back(false);
  return or_variable({{"enum", std::move(values)}});
}

Json with_summary(Json schema, std::string_view summary, std::string_view fallback) {
  schema["description"] =
      std::string(summary) + (fallback.empty() ? "" : " (default: " + std::string(fallback) + ")");
  return schema;
}

Json closed_object(Json properties) {
  return {
      {"type", "object"}, {"properties", std::move(properties)}, {"additionalProperties", false}};
}

/// {include: FILE} or {include: {file: FILE, VARIABLE: VALUE, ...}}.
Json include_schema() {
  Json with_variables = {{"type", "object"},
                         {"properties", {{"file", {{"type", "string"}}}}},
                         {"required", Json::array({"file"})},
                         {"additionalProperties", {{"$ref", "#/$defs/value"}}}};
  Json what = {{"anyOf", Json::array({{{"type", "string"}}, std::move(with_variables)})},
               {"description", "The passes of another file, with other values for its variables"}};
  Json include = closed_object({{"include", std::move(what)}});
  include["required"] = Json::array({"include"});
  return include;
}

Json pass_schema() {
  Json names = Json::array(), with_options = Json::object();
  for (const PassInfo& pass : all_passes()) {
    names.push_back(pass.name);
    Json options = Json::object();
    for (const OptionInfo& option : pass.options)
      options[std::string(option.key)] =
          with_summary(schema_of(option.type), option.summary, option.fallback);
    Json settings = closed_object(std::move(options));
    settings["type"] = Json::array({"object", "null"});
    with_options[std::string(pass.name)] = with_summary(std::move(settings), pass.summary, "");
  }
  Json object = closed_object(std::move(with_options));
  object["minProperties"] = object["maxProperties"] = 1;
  return {{"oneOf",
           Json::array({Json{{"enum", std::move(names)}}, std::move(object), include_schema()})}};
}

std::string schema() {
  Json data = Json::object();
  for (const DataKey& key : data_keys())
    data[std::string(key.key)] = with_summary(schema_of(key.type), key.summary, "");
  Json properties = {
      {"name", with_summary(schema_of("text"), "Shown in the report", "")},
      {"description", with_summary(schema_of("text"), "What the pipeline is for", "")},
      {"seed",
       with_summary(Json{{"type", "integer"}, {"minimum", 0}}, "Of everything random", "0")},
      {"data", with_summary(closed_object(std::move(data)), "How samples are prepared", "")},
      {"variables",
       {{"type", "object"},
        {"additionalProperties", {{"$ref", "#/$defs/value"}}},
        {"description", "Values that settings take as $NAME; --set variables.NAME=VALUE"}}},
      {"passes", {{"type", "array"}, {"items", pass_schema()}}}};
  Json root = {{"$schema", "https://json-schema.org/draft/2020-12/schema"},
               {"title", "A pipeline of pare"}};
  root.update(closed_object(std::move(properties)));
  root["required"] = Json::array({"passes"});
  const Json scalar = one_of_types({"string", "number", "boolean"});
  root["$defs"] = {
      {"variable", {{"type", "string"}, {"pattern", "^\\$"}}},
      {"value", {{"anyOf", Json::array({scalar, {{"type", "array"}, {"items", scalar}}})}}}};
  return root.dump(2) + "\n";
}

/// Throws where a pass or the data block would be refused.
void check(const Pipeline& pipeline) {
  if (pipeline.data) {
    Options options = *pipeline.data;  // A copy: reading consumes keys.
    read_preprocess(options, {});
  }
  for (const PassSpec& spec : pipeline.passes) make_pass(spec);
}

Json json_of(const Options::Entry& entry) {
  return entry.is_list ? Json(entry.items) : Json(entry.items.front());
}

Json json_of(const std::map<std::string, Options::Entry>& entries) {
  Json settings = Json::object();
  for (const auto& [key, entry] : entries) settings[key] = json_of(entry);
  return settings;
}

/// {name, description, seed, data, passes: [{name, given, defaults}]}, null for what is not given.
std::string pipeline_json(const Pipeline& pipeline) {
  const auto text = [](const std::string& words) { return words.empty() ? Json() : Json(words); };
  Json passes = Json::array();
  for (const PassSpec& spec : pipeline.passes) {
    const std::span<const PassInfo> all = all_passes();
    const auto info = std::ranges::find(all, spec.name, &PassInfo::name);
    Json defaults = Json::object();
    for (const OptionInfo& option : info->options)
      if (!spec.options.has(std::string(option.key)))
        defaults[std::string(option.key)] = option.fallback;
    passes.push_back({{"name", spec.name},
                      {"given", json_of(spec.options.entries())},
                      {"defaults", std::move(defaults)}});
  }
  return Json{{"name", text(pipeline.name)},
              {"description", text(pipeline.description)},
              {"seed", pipeline.seed ? Json(*pipeline.seed) : Json()},
              {"data", pipeline.data ? json_of(pipeline.data->entries()) : Json()},
              {"passes", std::move(passes)}}
             .dump(2, ' ', false, Json::error_handler_t::replace) +
         "\n";
}

std::string value_of(const Options::Entry& entry) {
  std::string text;
  for (const std::string& item : entry.items) text += (text.empty() ? "" : ", ") + item;
  return entry.is_list ? "[" + text + "]" : text;
}

/// Every pass with every setting, those that were given and those that hold without.
std::string listing(const Pipeline& pipeline) {
  TextTable table({{"pass", Align::kLeft},
                   {"option", Align::kLeft},
                   {"value", Align::kLeft},
                   {"", Align::kLeft}});
  if (pipeline.data)
    for (const auto& [key, entry] : pipeline.data->entries())
      table.add_row({"data", key, value_of(entry), "given"});
  for (const PassSpec& spec : pipeline.passes) {
    const std::span<const PassInfo> all = all_passes();
    const auto info = std::ranges::find(all, spec.name, &PassInfo::name);
    if (info->options.empty()) table.add_row({spec.name});
    for (const OptionInfo& option : info->options) {
      const auto given = spec.options.entries().find(std::string(option.key));
      const bool is_given = given != spec.options.entries().end();
      table.add_row({spec.name, std::string(option.key),
                     is_given ? value_of(given->second) : std::string(option.fallback),
                     is_given ? "given" : "default"});
    }
  }
  return table.str(result_width());
}

}  // namespace

Command add_pipeline(CLI::App& app) {
  auto arguments = std::make_shared<PipelineArguments>();
  auto json = std::make_shared<bool>(false);
  CLI::App* command =
      app.add_subcommand("pipeline", "Check a pipeline file, show what it sets, print its schema");
  command->require_subcommand(1);
  CLI::App* checking = command->add_subcommand("check", "Say whether a pipeline file can be run");
  CLI::App* showing =
      command->add_subcommand("show", "Show every pass with all its options, defaults too");
  for (CLI::App* each : {checking, showing}) {
    each->add_option("FILE", arguments->file, "YAML file")->type_name("FILE")->required();
    arguments->add_settings_to(*each);
    each->add_flag("--json", *json, "Print JSON");
  }
  CLI::App* printing = command->add_subcommand(
      "schema", "Print the JSON Schema of pipeline files, for editors to complete from");
  command->footer(
      "Examples:\n"
      "  pare pipeline check mine.yaml\n"
      "  pare pipeline show prune-int8 --set prune-channels.macs=-35%\n"
      "  pare pipeline schema > pipeline.schema.json");
  return {command, [arguments, json, showing, printing](Console&) {
            if (printing->parsed()) return print_result(schema());
            const Pipeline pipeline = arguments->read();
            check(pipeline);
            if (*json) return print_result(pipeline_json(pipeline));
            if (showing->parsed()) return print_result(listing(pipeline));
            const size_t count = pipeline.passes.size();
            print_result(arguments->file + ": can be run, " + std::to_string(count) +
                         (count == 1 ? " pass\n" : " passes\n"));
          }};
}

}  // namespace pare
