#include <algorithm>
#include <chrono>
#include <filesystem>
#include <optional>

#include "cli/arguments.h"
#include "cli/class_arguments.h"
#include "cli/command.h"
#include "cli/data.h"
#include "cli/report_file.h"
#include "exporters/onnx/export.h"
#include "passes/measure_layers.h"
#include "passes/pass_manager.h"
#include "passes/registry.h"
#include "report/run_report.h"
#include "support/sha256.h"

namespace pare {
namespace {

struct Arguments {
  std::string model, output, report, reproducer;
  PipelineArguments pipeline;
  ClassArguments classes;
  BindArguments bind;
  CostArguments cost;
  DataArguments data;
  ThreadArguments threads;
  std::optional<uint64_t> seed;
  bool external_data = false, no_data = false, json = false;
};

void check_outputs(const Arguments& arguments, const std::string& labels_file) {
  std::vector<std::string> inputs = {arguments.model, arguments.pipeline.file, arguments.data.data,
                                     arguments.cost.table, arguments.classes.labels};
  check_output("-o", arguments.output, inputs);
  inputs.push_back(arguments.output);
  if (!labels_file.empty()) {
    check_output("--labels-out", labels_file, inputs);
    inputs.push_back(labels_file);
  }
  if (arguments.report.empty()) return;
  check_output("--report", arguments.report, inputs);
  check_report(arguments.report);
}

std::map<std::string, std::string> options_of(const Arguments& arguments, uint64_t seed) {
  std::map<std::string, std::string> options = {
      {"threads", std::to_string(arguments.threads.count())}, {"seed", std::to_string(seed)}};
  options.merge(arguments.data.given());
  for (const std::string& bind : arguments.bind.bind)
    options["bind"] += (options["bind"].empty() ? "" : ",") + bind;
  return options;
}

PassManager make_manager(const Arguments& arguments, const Pipeline& pipeline, Console& console) {
  PassManagerOptions options{.reproducer_dir = arguments.reproducer};
  options.on_record = [&console](const PassRecord& record) {
    console.info(record.pass + ": " + (record.changed ? "done" : "nothing to do"));
  };
  options.write_model = [](const Graph& graph, const std::string& folder) {
    export_onnx(graph, (std::filesystem::path(folder) / "model.onnx").string());
  };
  PassManager manager(std::move(options));
  for (const PassSpec& spec : pipeline.passes) manager.add(make_pass(spec), spec.text);
  return manager;
}

/// Where each layer and node of the result comes from, and how far the layers are off.
void trace(const Graph& original, const Graph& result, const Lineage& lineage,
           const PassContext& context, RunReport& report) {
  std::vector<LayerMeasure> measures;
  if (context.data) {
    try {
      measures = measure_layers(original, result, lineage, *context.data,
                                {.threads = context.threads, .progress = context.progress});
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::kInterrupted) throw;
      context.warning(std::string("layers are not measured for the report: ") + error.what());
    }
  }
  report.layers =
      compare_layers({original, report.before}, {result, report.after}, lineage, measures);
  report.left_alone = left_alone(original, report.before);
  report.nodes = node_origins(original, result, lineage);
  report.removed = removed_nodes(original, lineage);
}

/// Runs the pipeline on `graph` in place and fills in what the run did.
void run_passes(const Arguments& arguments, const Pipeline& pipeline, Graph& graph,
                RunReport& report, Console& console) {
  const PassManager manager = make_manager(arguments, pipeline, console);
  std::optional<Dataset> data;
  if (!arguments.data.data.empty()) {
    data = arguments.data.open(graph, pipeline.data, arguments.threads.count(), console);
    report.warnings = data->notes();
  }
  PassContext context{.data = data ? &*data : nullptr,
                      .threads = arguments.threads.count(),
                      .seed = arguments.seed.value_or(pipeline.seed.value_or(0)),
                      .progress = console.progress(),
                      .cost = report.cost,
                      .rate = report.rate};
  context.warn = [&](const std::string& sentence) {
    console.warning(sentence);
    report.warnings.push_back(sentence);
  };
  const auto begun = std::chrono::steady_clock::now();
  report.options = options_of(arguments, context.seed);
  report.before = estimate_cost(graph, report.cost);
  const Graph original = graph;
  PassRun done = manager.run(graph, context);
  report.passes = std::move(done.passes);
  report.after = estimate_cost(graph, report.cost);
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  for (NodeId id : report.after.uncosted)
    report.uncosted.push_back(layer_name(graph, graph.node(id)));
  if (arguments.json || !arguments.report.empty())
    trace(original, graph, done.lineage, context, report);
}

void optimize(const Arguments& arguments, Console& console) {
  if (arguments.pipeline.empty() && arguments.classes.keep.empty())
    throw Error(ErrorKind::kUsage,
                "optimize: expected a pipeline (-p), passes (--pass) or --keep-classes");
  Pipeline pipeline = arguments.pipeline.read();
  arguments.classes.apply(pipeline);
  const std::string labels_file = arguments.classes.labels_file(pipeline, arguments.output);
  check_outputs(arguments, labels_file);
  RunReport report{.tool = std::string("pare ") + PARE_VERSION,
                   .build = PARE_BUILD,
                   .model = arguments.model,
                   .output = arguments.output,
                   .pipeline = arguments.pipeline.file,
                   .pipeline_text = pipeline.text,
                   .cost = arguments.cost.options(),
                   .rate = arguments.cost.rate};
  Graph graph = arguments.bind.load(arguments.model);
  report.model_sha256 = sha256_of_file(arguments.model);
  run_passes(arguments, pipeline, graph, report, console);
  export_onnx(graph, arguments.output, {.external_data = arguments.external_data});
  if (!labels_file.empty()) write_labels(labels_file, report.passes);
  report.output_sha256 = sha256_of_file(arguments.output);
  if (!arguments.report.empty()) write_report(arguments.report, report);
  const bool verbose = console.verbosity() == Verbosity::kVerbose;
  print_result(arguments.json ? to_json(report)
                              : to_table(report, verbose ? StatLines::kAll : StatLines::kShort,
                                         result_width()));
}

}  // namespace

Command add_optimize(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand(
      "optimize", "Run a pipeline of passes on a model and write what comes out");
  command->add_option("MODEL", arguments->model, "ONNX file to read")
      ->type_name("FILE")
      ->required();
  command->add_option("-o,--output", arguments->output, "ONNX file to write")
      ->type_name("FILE")
      ->required();
  arguments->pipeline.add_to(*command);
  arguments->classes.add_to(*command);
  arguments->data.limit = kCalibrationSamples;
  CLI::Option* data =
      arguments->data.add_to(*command, "Samples to calibrate on and to compare outputs with");
  command
      ->add_flag("--no-data", arguments->no_data,
                 "Go without samples on purpose: channels are pruned by the size of their weights, "
                 "which costs most of the accuracy; quantization needs samples")
      ->excludes(data);
  command
      ->add_option("--report", arguments->report,
                   "File that takes the whole story: .html, .md or .json")
      ->type_name("FILE");
  arguments->bind.add_to(*command);
  arguments->cost.add_to(*command);
  arguments->threads.add_to(*command);
  command->add_option("--seed", arguments->seed, "Of everything random (default: the pipeline's)");
  command->add_flag("--external-data", arguments->external_data,
                    "Write the weights to OUTPUT.data, as is always done over 2 GB");
  command
      ->add_option("--reproducer", arguments->reproducer,
                   "Folder that takes model and pipeline when a pass fails")
      ->type_name("FOLDER");
  command->add_flag("--json", arguments->json, "Print the report as JSON");
  command->footer(
      "Examples:\n"
      "  pare optimize resnet50.onnx -o small.onnx -p prune-int8 \\\n"
      "    --data images/ --preset imagenet --limit 512\n"
      "  pare optimize resnet56.onnx -o small.onnx -p prune-int8 \\\n"
      "    --data train_x.npy --scale 0.00392157 --mean 0.485,0.456,0.406 \\\n"
      "    --std 0.229,0.224,0.225 --report report.json\n"
      "  pare optimize yolo.onnx -o mine.onnx --keep-classes person,car --labels coco.txt\n"
      "  pare optimize resnet56.onnx -o clean.onnx --pass fold-constants --pass fold-batch-norm");
  return {command, [arguments](Console& console) { optimize(*arguments, console); }};
}

}  // namespace pare
