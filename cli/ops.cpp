#include "ops/ops.h"

#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "support/text_table.h"

namespace pare {
namespace {

struct Ability {
  const char* key;
  const char* title;
  bool (*of)(const OpDef&);
};

constexpr Ability kAbilities[] = {
    {"runs", "runs", [](const OpDef& op) { return op.eval != nullptr; }},
    {"prunes", "prunes", [](const OpDef& op) { return op.tie != nullptr; }},
    {"macs", "MACs", [](const OpDef& op) { return op.macs != nullptr; }},
    {"quantizes", "int8", [](const OpDef& op) { return op.quant != Quant::kFloat; }},
};

std::string domain_of(const OpDef& op) {
  return std::string(op.domain.empty() ? "ai.onnx" : op.domain);
}

std::string ops_json() {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const OpDef* op : onnx_ops().rows()) {
    nlohmann::ordered_json entry{{"name", op->name}, {"domain", domain_of(*op)}};
    for (const Ability& ability : kAbilities) entry[ability.key] = ability.of(*op);
    entry["channels"] = op->channels;
    list.push_back(std::move(entry));
  }
  return list.dump(2) + "\n";
}

std::string ops_table() {
  std::vector<TextTable::Column> columns = {{"op", TextTable::Align::kLeft},
                                            {"domain", TextTable::Align::kLeft}};
  for (const Ability& ability : kAbilities)
    columns.push_back({ability.title, TextTable::Align::kLeft});
  TextTable table(std::move(columns));
  for (const OpDef* op : onnx_ops().rows()) {
    std::vector<std::string> cells = {std::string(op->name), domain_of(*op)};
    for (const Ability& ability : kAbilities) cells.emplace_back(ability.of(*op) ? "yes" : "-");
    table.add_row(std::move(cells));
  }
  return table.str(result_width()) + "\n" + std::to_string(onnx_ops().rows().size()) +
         " operators. Others are carried through unchanged: they are not counted, pin the channels "
         "they touch,\nand cannot be run.\n";
}

}  // namespace

Command add_ops(CLI::App& app) {
  auto json = std::make_shared<bool>(false);
  CLI::App* command =
      app.add_subcommand("ops", "List the ONNX operators pare knows, and what it can do with each");
  command->add_flag("--json", *json, "Print JSON");
  command->footer("Example:\n  pare ops");
  return {command, [json](Console&) { print_result(*json ? ops_json() : ops_table()); }};
}

}  // namespace pare
