#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "passes/registry.h"
#include "support/text_table.h"

namespace pare {
namespace {

using Align = TextTable::Align;

std::string text(std::string_view view) { return std::string(view); }

std::string option_lines(const PassInfo& pass) {
  if (pass.options.empty()) return {};
  TextTable table({{"", Align::kLeft},
                   {"option", Align::kLeft},
                   {"type", Align::kLeft},
                   {"default", Align::kLeft},
                   {"", Align::kLeft}});
  for (const OptionInfo& option : pass.options)
    table.add_row(
        {"", text(option.key), text(option.type), text(option.fallback), text(option.summary)});
  return table.str(result_width());
}

std::string pass_list() {
  std::string list;
  for (const PassInfo& pass : all_passes()) {
    list += text(pass.name) + (pass.effect == Effect::kExact ? " (exact)" : " (lossy)") + "\n  " +
            text(pass.summary) + "\n" + option_lines(pass) + "\n";
  }
  return list +
         "An exact pass keeps the outputs up to rounding, which is checked when --data is given; "
         "a lossy\none changes them, and the report says by how much.\n";
}

std::string pass_json() {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const PassInfo& pass : all_passes()) {
    nlohmann::ordered_json options = nlohmann::ordered_json::array();
    for (const OptionInfo& option : pass.options)
      options.push_back({{"key", option.key},
                         {"type", option.type},
                         {"default", option.fallback},
                         {"summary", option.summary}});
    list.push_back({{"name", pass.name},
                    {"exact", pass.effect == Effect::kExact},
                    {"summary", pass.summary},
                    {"options", std::move(options)}});
  }
  return list.dump(2) + "\n";
}

}  // namespace

Command add_passes(CLI::App& app) {
  auto json = std::make_shared<bool>(false);
  CLI::App* command = app.add_subcommand("passes", "List the passes and their options");
  command->add_flag("--json", *json, "Print JSON");
  command->footer("Example:\n  pare passes");
  return {command, [json](Console&) { print_result(*json ? pass_json() : pass_list()); }};
}

}  // namespace pare
