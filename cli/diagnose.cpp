#include "cli/arguments.h"
#include "cli/command.h"
#include "cli/data.h"
#include "cli/report_file.h"

namespace pare {
namespace {

struct Arguments {
  std::string original, quantized, report;
  BindArguments bind;
  DataArguments data;
  ThreadArguments threads;
  int64_t samples = 64;
  bool json = false;
};

void diagnose(const Arguments& arguments, Console& console) {
  if (!arguments.report.empty()) {
    check_output("--report", arguments.report,
                 {arguments.original, arguments.quantized, arguments.data.data});
    check_report(arguments.report);
  }
  const Graph original = arguments.bind.load(arguments.original);
  const Graph quantized = arguments.bind.load(arguments.quantized);
  const Dataset data = arguments.data.open(original, {}, arguments.threads.count(), console);
  const DiagnosisReport report{.tool = std::string("pare ") + PARE_VERSION,
                               .original = arguments.original,
                               .quantized = arguments.quantized,
                               .diagnosis = diagnose_layers(original, quantized, data,
                                                            {.samples = arguments.samples,
                                                             .threads = arguments.threads.count(),
                                                             .progress = console.progress()})};
  if (!arguments.report.empty()) write_report(arguments.report, report);
  print_result(arguments.json ? to_json(report) : to_table(report, result_width()));
}

}  // namespace

Command add_diagnose(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand(
      "diagnose", "Say which layers of a quantized model lose most, against its original");
  command->add_option("ORIGINAL", arguments->original, "ONNX file in float")
      ->type_name("FILE")
      ->required();
  command->add_option("QUANTIZED", arguments->quantized, "What was made of it, in QDQ form")
      ->type_name("FILE")
      ->required();
  arguments->data.limit = kCalibrationSamples;
  arguments->data.add_to(*command, "Samples")->required();
  command->add_option("--samples", arguments->samples, "Samples looked at, spread over the data")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--report", arguments->report, "File for the result: .html, .md or .json")
      ->type_name("FILE");
  arguments->bind.add_to(*command);
  arguments->threads.add_to(*command);
  command->add_flag("--json", arguments->json, "Print JSON, with distributions");
  command->footer(
      "Layers are sorted by what quantizing them alone does to the outputs.\n"
      "Example:\n"
      "  pare diagnose resnet50.onnx small.onnx --data val/ --preset imagenet --report "
      "layers.html");
  return {command, [arguments](Console& console) { diagnose(*arguments, console); }};
}

}  // namespace pare
