#include "cli/arguments.h"
#include "cli/command.h"

namespace pare {
namespace {

struct Arguments {
  std::string model;
  BindArguments bind;
  CostArguments cost;
  bool json = false, totals_only = false, all = false;
};

void inspect(const Arguments& arguments) {
  const ModelReport report = report_model(arguments.model, arguments.bind, arguments.cost);
  const LayerRows rows = arguments.totals_only ? LayerRows::kNone
                         : arguments.all       ? LayerRows::kAll
                                               : LayerRows::kWork;
  print_result(arguments.json ? to_json(report) : to_table(report, rows));
}

}  // namespace

Command add_inspect(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand(
      "inspect", "Show operations, parameters, bytes, energy and power of a model");
  command->add_option("MODEL", arguments->model, "ONNX file")->type_name("FILE")->required();
  arguments->bind.add_to(*command);
  arguments->cost.add_to(*command);
  arguments->cost.add_precision_to(*command);
  command->add_flag("--totals", arguments->totals_only, "Leave the layers out");
  command->add_flag("--all", arguments->all, "Show layers without work of their own too");
  command->add_flag("--json", arguments->json, "Print JSON");
  command->footer(
      "Examples:\n"
      "  pare inspect resnet50.onnx\n"
      "  pare inspect resnet50.onnx --convention article --precision int8 --totals");
  return {command, [arguments](Console&) { inspect(*arguments); }};
}

}  // namespace pare
