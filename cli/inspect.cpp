#include <nlohmann/json.hpp>

#include "cli/arguments.h"
#include "cli/command.h"
#include "exec/plan.h"
#include "support/text_table.h"

namespace pare {
namespace {

struct Arguments {
  std::string model;
  BindArguments bind;
  CostArguments cost;
  bool json = false, totals_only = false, all = false, plan = false;
};

std::string plan_json(const std::vector<PlanStep>& steps) {
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (const PlanStep& step : steps)
    json.push_back(
        {{"kind", step.kind}, {"implementation", step.implementation}, {"layout", step.layout}});
  return json.dump(2) + "\n";
}

std::string plan_table(const Graph& graph, const std::vector<PlanStep>& steps) {
  TextTable table({{.title = "step", .align = TextTable::Align::kLeft, .max_width = 50},
                   {.title = "implementation", .align = TextTable::Align::kLeft},
                   {.title = "layout", .align = TextTable::Align::kLeft},
                   {.title = "first node", .align = TextTable::Align::kLeft, .max_width = 50}});
  size_t evaluated = 0, reorders = 0;
  for (const PlanStep& step : steps) {
    evaluated += step.implementation == "eval" ? 1 : 0;
    reorders += step.nodes.empty() ? 1 : 0;
    table.add_row({step.kind, step.implementation, step.layout,
                   step.nodes.empty() ? "" : graph.node(step.nodes[0]).name});
  }
  return table.str(result_width()) + "\n" + std::to_string(steps.size()) + " steps, " +
         std::to_string(reorders) + " reorders, " + std::to_string(evaluated) +
         " evaluated by the interpreter\n";
}

void inspect_plan(const Arguments& arguments) {
  const Graph graph = arguments.bind.load(arguments.model);
  const Plan plan = with_context([&] { return arguments.model; }, [&] { return Plan(graph); });
  print_result(arguments.json ? plan_json(plan.steps()) : plan_table(graph, plan.steps()));
}

void inspect(const Arguments& arguments) {
  if (arguments.plan) return inspect_plan(arguments);
  const ModelReport report = report_model(arguments.model, arguments.bind, arguments.cost);
  const LayerRows rows = arguments.totals_only ? LayerRows::kNone
                         : arguments.all       ? LayerRows::kAll
                                               : LayerRows::kWork;
  print_result(arguments.json ? to_json(report) : to_table(report, rows, result_width()));
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
  arguments->cost.add_device_to(*command);
  command->add_flag("--totals", arguments->totals_only, "Leave the layers out");
  command->add_flag("--all", arguments->all, "Show layers without work of their own too");
  command->add_flag("--plan", arguments->plan,
                    "Show instead the steps pare's engine runs: what is fused, on which kernels");
  command->add_flag("--json", arguments->json, "Print JSON");
  command->footer(
      "Examples:\n"
      "  pare inspect resnet50.onnx\n"
      "  pare inspect resnet50.onnx --convention article --precision int8 --totals\n"
      "  pare inspect resnet50.onnx --device zcu102 --fps 60");
  return {command, [arguments](Console&) { inspect(*arguments); }};
}

}  // namespace pare
