#include "cli/arguments.h"
#include "cli/command.h"
#include "cli/report_file.h"
#include "report/comparison.h"
#include "report/markdown.h"
#include "report/rules.h"
#include "support/file.h"

namespace pare {
namespace {

struct Arguments {
  std::string a, b;
  BindArguments bind;
  CostArguments cost;
  std::string report;
  std::vector<std::string> rules;
  bool json = false, markdown = false;
};

Candidate read_side(const std::string& path, const Arguments& arguments) {
  if (!path.ends_with(".json"))
    return candidate_of(report_model(path, arguments.bind, arguments.cost));
  const auto file = MappedFile::open(path);
  const std::span<const std::byte> bytes = file->bytes();
  return read_candidate(path,
                        std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

/// What failed, in one sentence; empty where nothing did.
std::string failures(const std::vector<RuleOutcome>& outcomes) {
  std::string text;
  for (const RuleOutcome& outcome : outcomes)
    if (outcome.failed)
      text += (text.empty() ? "" : "; ") + ("'" + outcome.rule + "' holds: " + outcome.figures);
  return text;
}

void compare(const Arguments& arguments) {
  for (const std::string& rule : arguments.rules) check_rule(rule);
  if (!arguments.report.empty()) {
    check_output("--report", arguments.report, {arguments.a, arguments.b, arguments.cost.table});
    check_report(arguments.report);
  }
  const Candidate a = read_side(arguments.a, arguments), b = read_side(arguments.b, arguments);
  std::vector<RuleOutcome> outcomes;
  for (const std::string& rule : arguments.rules) outcomes.push_back(apply_rule(rule, a, b));
  if (!arguments.report.empty()) write_report(arguments.report, a, b, outcomes);
  print_result(arguments.json       ? to_json(a, b, outcomes)
               : arguments.markdown ? to_markdown(a, b)
                                    : to_table(a, b, result_width()));
  if (const std::string failed = failures(outcomes); !failed.empty())
    throw GateFailed{"--fail-if " + failed};
}

}  // namespace

Command add_compare(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("compare", "Put two models, or two reports, side by side");
  command->add_option("A", arguments->a, "ONNX file, or .json of --report or inspect --json")
      ->type_name("FILE")
      ->required();
  command->add_option("B", arguments->b, "The same")->type_name("FILE")->required();
  arguments->bind.add_to(*command);
  arguments->cost.add_to(*command);
  command
      ->add_option("--fail-if", arguments->rules,
                   "End with exit code 1 when this holds of B: 'gop > 17', 'agreement < 98%', "
                   "'weight_bytes > 0.6 * before'. Repeatable")
      ->type_name("RULE")
      ->allow_extra_args(false);
  command->add_flag("--json", arguments->json, "Print JSON");
  command->add_flag("--markdown", arguments->markdown, "Print Markdown, for a pull request");
  command->add_option("--report", arguments->report, "File for the comparison: .html, .md or .json")
      ->type_name("FILE");
  command->footer(
      "Examples:\n"
      "  pare compare resnet50.onnx small.onnx\n"
      "  pare compare monday.json tuesday.json\n"
      "  pare compare resnet50.onnx report.json --fail-if 'agreement < 98%'");
  return {command, [arguments](Console&) { compare(*arguments); }};
}

}  // namespace pare
