#include "cli/arguments.h"
#include "cli/command.h"
#include "cli/data.h"
#include "cli/prune_request.h"
#include "report/channel_report.h"

namespace pare {
namespace {

struct Arguments {
  std::string model, group, macs, params;
  PipelineArguments pipeline;
  BindArguments bind;
  DataArguments data;
  ThreadArguments threads;
  bool json = false;
};

Budget parse_budget(const std::string& option, Measure measure, const std::string& text) {
  return with_context([&] { return option; }, [&] { return Budget::parse(measure, text); });
}

PruneRequest read_request(const Arguments& arguments) {
  PruneRequest request = read_prune_request(arguments.pipeline);
  if (!arguments.macs.empty() && !arguments.params.empty())
    throw Error(ErrorKind::kUsage, "explain: give either --macs or --params, not both");
  if (!arguments.macs.empty())
    request.options.budget = parse_budget("--macs", Measure::kMacs, arguments.macs);
  if (!arguments.params.empty())
    request.options.budget = parse_budget("--params", Measure::kParameters, arguments.params);
  request.has_prune |= !arguments.macs.empty() || !arguments.params.empty();
  if (!arguments.data.data.empty() && !request.has_prune)
    throw Error(ErrorKind::kUsage,
                "explain: --data measures what a budget costs, expected --macs, --params or a "
                "prune-channels pass beside it");
  return request;
}

PruningForecast forecast_of(const Graph& graph, const ChannelMap& map, const PruneRequest& request,
                            const PassContext& context) {
  PrunePlanner planner(graph, request.options, context);
  const PrunePlan plan = planner.plan(request.options.budget);
  return {.measure = request.options.budget.measure,
          .before = planner.before(),
          .target = plan.target,
          .after = plan.after,
          .sets = explain_plan(map, planner, plan)};
}

void explain(const Arguments& arguments, Console& console) {
  const PruneRequest request = read_request(arguments);
  Graph graph = arguments.bind.load(arguments.model);
  std::optional<Dataset> data;
  if (!arguments.data.data.empty())
    data = arguments.data.open(graph, request.data, arguments.threads.count(), console);
  PassContext context{.data = data ? &*data : nullptr,
                      .threads = arguments.threads.count(),
                      .progress = console.progress()};
  context.warn = [&](const std::string& sentence) { console.warning(sentence); };
  request.before.run(graph, context);
  ChannelReport report{.model = arguments.model,
                       .graph = graph,
                       .map = explain_channels(graph, {.min_channels = request.options.min_channels,
                                                       .multiple = request.options.multiple})};
  if (request.has_prune) report.forecast = forecast_of(graph, report.map, request, context);
  if (!arguments.group.empty()) select(report, arguments.group);
  print_result(arguments.json            ? to_json(report)
               : arguments.group.empty() ? to_table(report, result_width())
                                         : to_details(report));
}

}  // namespace

Command add_explain(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand(
      "explain", "Show which channels can be pruned, what couples them, and what pins the others");
  command->add_option("MODEL", arguments->model, "ONNX file")->type_name("FILE")->required();
  command
      ->add_option("--group", arguments->group,
                   "Only sets with a layer of this name, in detail; * and ? stand for anything")
      ->type_name("NAME");
  command
      ->add_option("--macs", arguments->macs,
                   "Show what this budget would leave, as prune-channels takes it: -30%, 75M")
      ->type_name("BUDGET");
  command->add_option("--params", arguments->params, "The same for parameters")
      ->type_name("BUDGET");
  arguments->pipeline.add_to(*command);
  arguments->data.limit = kCalibrationSamples;
  arguments->data.add_to(*command, "Samples to measure losses with, for a budget");
  arguments->bind.add_to(*command);
  arguments->threads.add_to(*command);
  command->add_flag("--json", arguments->json, "Print JSON");
  command->footer(
      "No model is written. Passes before the first prune-channels are run first; its options hold "
      "for the forecast.\n"
      "Examples:\n"
      "  pare explain resnet56.onnx\n"
      "  pare explain resnet56.onnx --group 'layer1.*'\n"
      "  pare explain resnet50.onnx --macs -30% --data images/ --preset imagenet\n"
      "  pare explain resnet56.onnx --pass fold-batch-norm \\\n"
      "    --pass 'prune-channels: {macs: -30%, exclude: [stem]}'");
  return {command, [arguments](Console& console) { explain(*arguments, console); }};
}

}  // namespace pare
