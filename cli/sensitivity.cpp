#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "cli/arguments.h"
#include "cli/command.h"
#include "cli/data.h"
#include "cli/prune_request.h"
#include "passes/prune_channels_plan.h"
#include "passes/sensitivity_file.h"
#include "report/sensitivity_report.h"

namespace pare {
namespace {

struct Arguments {
  std::string model, output, shard;
  std::vector<std::string> merge;
  PipelineArguments pipeline;
  BindArguments bind;
  DataArguments data;
  ThreadArguments threads;
  bool json = false;
};

[[noreturn]] void usage(const std::string& sentence) {
  throw Error(ErrorKind::kUsage, "sensitivity: " + sentence);
}

/// "2/8": the second of eight shards.
MeasureSharing parse_shard(const std::string& text) {
  MeasureSharing sharing;
  if (text.empty()) return sharing;
  int64_t part = 0;
  const char* end = text.data() + text.size();
  const auto [slash, wrong] = std::from_chars(text.data(), end, part);
  if (wrong == std::errc() && slash != end && *slash == '/') {
    const auto [rest, failure] = std::from_chars(slash + 1, end, sharing.shards);
    if (failure == std::errc() && rest == end && part >= 1 && part <= sharing.shards) {
      sharing.shard = part - 1;
      return sharing;
    }
  }
  usage("--shard: '" + text + "' is no part of a whole, as in 2/8");
}

void merge(const Arguments& arguments) {
  if (!arguments.model.empty()) usage("--merge takes files only, no model");
  check_output("-o", arguments.output, {});
  SensitivityFile merged;
  for (const std::string& path : arguments.merge) merged.merge(SensitivityFile::read(path));
  merged.write(arguments.output);
  size_t families = 0;
  for (const MeasurementSection& section : merged.sections) families += section.families.size();
  if (arguments.json)
    return print_result(nlohmann::ordered_json{{"output", arguments.output},
                                               {"sets", families},
                                               {"networks", merged.sections.size()}}
                            .dump(2, ' ', false, nlohmann::json::error_handler_t::replace) +
                        "\n");
  print_result(arguments.output + ": " + std::to_string(families) +
               (families == 1 ? " set of " : " sets of ") + std::to_string(merged.sections.size()) +
               (merged.sections.size() == 1 ? " network\n" : " networks\n"));
}

void measure(const Arguments& arguments, Console& console) {
  const MeasureSharing sharing = parse_shard(arguments.shard);
  if (arguments.model.empty()) usage("expected a model, or --merge with files");
  if (arguments.data.data.empty()) usage("expected samples to measure with (--data)");
  check_output("-o", arguments.output, {arguments.model, arguments.data.data});
  PruneRequest request = read_prune_request(arguments.pipeline);
  request.options.sensitivity = arguments.output;
  Graph graph = arguments.bind.load(arguments.model);
  const Dataset data = arguments.data.open(graph, request.data, arguments.threads.count(), console);
  PassContext context{
      .data = &data, .threads = arguments.threads.count(), .progress = console.progress()};
  context.warn = [&](const std::string& sentence) { console.warning(sentence); };
  request.before.run(graph, context);
  PrunePlanner planner(graph, request.options, context);
  planner.measure(sharing);
  print_result(arguments.json ? sensitivity_json(graph, *planner.measured())
                              : sensitivity_table(graph, *planner.measured(), result_width()));
}

}  // namespace

Command add_sensitivity(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand(
      "sensitivity", "Measure what pruning each set of channels costs, and keep it in a file");
  command->add_option("MODEL", arguments->model, "ONNX file")->type_name("FILE");
  command
      ->add_option("-o,--output", arguments->output,
                   "File to keep measurements in; what it already has is not measured again")
      ->type_name("FILE")
      ->required();
  command
      ->add_option("--shard", arguments->shard,
                   "Measure only this part of the sets, to share the work between processes")
      ->type_name("I/N");
  command->add_option("--merge", arguments->merge, "Put these files together instead")
      ->type_name("FILES");
  arguments->pipeline.add_to(*command);
  arguments->data.limit = kCalibrationSamples;
  arguments->data.add_to(*command, "Samples to measure with");
  arguments->bind.add_to(*command);
  arguments->threads.add_to(*command);
  command->add_flag("--json", arguments->json, "Print JSON");
  command->footer(
      "Passes before the first prune-channels are run first; its options hold. prune-channels "
      "takes "
      "the file as 'sensitivity: FILE'\nand must see the same network, samples and options to find "
      "its measurements there.\n"
      "Examples:\n"
      "  pare sensitivity resnet56.onnx --data train_x.npy -o resnet56.sens\n"
      "  pare sensitivity resnet56.onnx --data train_x.npy -o part2.sens --shard 2/8\n"
      "  pare sensitivity --merge part1.sens part2.sens -o resnet56.sens\n"
      "  pare optimize resnet56.onnx -o small.onnx --data train_x.npy \\\n"
      "    --pass 'prune-channels: {macs: -40%, sensitivity: resnet56.sens}'");
  return {command, [arguments](Console& console) {
            arguments->merge.empty() ? measure(*arguments, console) : merge(*arguments);
          }};
}

}  // namespace pare
