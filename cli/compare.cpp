#include "cli/arguments.h"
#include "cli/command.h"
#include "cli/report_file.h"
#include "report/comparison.h"
#include "report/markdown.h"
#include "support/file.h"

namespace pare {
namespace {

struct Arguments {
  std::string a, b;
  BindArguments bind;
  CostArguments cost;
  std::string report;
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

void compare(const Arguments& arguments) {
  if (!arguments.report.empty()) {
    check_output("--report", arguments.report, {arguments.a, arguments.b, arguments.cost.table});
    check_report(arguments.report);
  }
  const Candidate a = read_side(arguments.a, arguments), b = read_side(arguments.b, arguments);
  if (!arguments.report.empty()) write_report(arguments.report, a, b);
  print_result(arguments.json       ? to_json(a, b)
               : arguments.markdown ? to_markdown(a, b)
                                    : to_table(a, b));
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
  command->add_flag("--json", arguments->json, "Print JSON");
  command->add_flag("--markdown", arguments->markdown, "Print Markdown, for a pull request");
  command->add_option("--report", arguments->report, "File for the comparison: .html, .md or .json")
      ->type_name("FILE");
  command->footer(
      "Examples:\n"
      "  pare compare resnet50.onnx small.onnx\n"
      "  pare compare monday.json tuesday.json");
  return {command, [arguments](Console&) { compare(*arguments); }};
}

}  // namespace pare
