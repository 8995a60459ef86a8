#include <cmath>
#include <nlohmann/json.hpp>

#include "cli/arguments.h"
#include "cli/command.h"
#include "cli/data.h"
#include "passes/diagnose_layers.h"
#include "support/text_table.h"

namespace pare {
namespace {

using Json = nlohmann::ordered_json;

struct Arguments {
  std::string original, quantized;
  BindArguments bind;
  DataArguments data;
  ThreadArguments threads;
  int64_t samples = 64;
  bool json = false;
};

Json number(double x) { return std::isfinite(x) ? Json(x) : Json(); }

Json to_json(const Distribution& d) {
  return {{"min", d.low}, {"max", d.high}, {"mean", d.mean}, {"std", d.deviation}};
}

Json to_json(const Comparison& c) {
  return {{"agreement", c.agreement},
          {"kl", c.kl},
          {"sqnr_db", number(c.sqnr_db)},
          {"cosine", c.cosine},
          {"max_abs_error", c.max_abs_error}};
}

std::string result_json(const Arguments& arguments, const Diagnosis& diagnosis) {
  Json layers = Json::array();
  for (const LayerDiagnosis& layer : diagnosis.layers)
    layers.push_back({{"name", layer.name},
                      {"op", layer.op},
                      {"weight_bits", layer.weight_bits},
                      {"alone", to_json(layer.alone)},
                      {"result",
                       {{"sqnr_db", number(layer.result.sqnr_db)},
                        {"cosine", layer.result.cosine},
                        {"max_abs_error", layer.result.max_abs_error}}},
                      {"weight_sqnr_db", number(layer.weight_sqnr_db)},
                      {"weights", to_json(layer.weights)},
                      {"activations", to_json(layer.activations)}});
  return Json{{"original", arguments.original},
              {"quantized", arguments.quantized},
              {"outputs", to_json(diagnosis.outputs)},
              {"unmatched", diagnosis.unmatched},
              {"layers", layers}}
             .dump(2) +
         "\n";
}

std::string result_table(const Diagnosis& diagnosis) {
  using enum TextTable::Align;
  constexpr int kNameWidth = 40;
  TextTable table({{"layer", kLeft, kNameWidth},
                   {"op", kLeft},
                   {"bits", kRight},
                   {"KL alone", kRight},
                   {"SQNR alone [dB]", kRight},
                   {"SQNR [dB]", kRight},
                   {"cosine", kRight},
                   {"largest error", kRight},
                   {"weight SQNR [dB]", kRight}});
  for (const LayerDiagnosis& layer : diagnosis.layers)
    table.add_row({layer.name, layer.op, std::to_string(layer.weight_bits),
                   digits(layer.alone.kl, 3), digits(layer.alone.sqnr_db, 3),
                   digits(layer.result.sqnr_db, 3), digits(layer.result.cosine, 5),
                   digits(layer.result.max_abs_error, 3), digits(layer.weight_sqnr_db, 3)});
  std::string text = table.str() + "\nwhole network: KL " + digits(diagnosis.outputs.kl, 3) +
                     ", SQNR " + digits(diagnosis.outputs.sqnr_db, 3) + " dB, agreement " +
                     digits(100 * diagnosis.outputs.agreement, 4) + " %\n";
  for (const std::string& name : diagnosis.unmatched)
    text += "no partner in the original: " + printable(name) + "\n";
  return text;
}

void diagnose(const Arguments& arguments, Console& console) {
  const Graph original = arguments.bind.load(arguments.original);
  const Graph quantized = arguments.bind.load(arguments.quantized);
  const Dataset data = arguments.data.open(original, {}, arguments.threads.count(), console);
  const Diagnosis diagnosis = diagnose_layers(original, quantized, data,
                                              {.samples = arguments.samples,
                                               .threads = arguments.threads.count(),
                                               .progress = console.progress()});
  print_result(arguments.json ? result_json(arguments, diagnosis) : result_table(diagnosis));
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
  arguments->bind.add_to(*command);
  arguments->threads.add_to(*command);
  command->add_flag("--json", arguments->json, "Print JSON, with distributions");
  command->footer(
      "Layers are sorted by what quantizing them alone does to the outputs.\n"
      "Example:\n"
      "  pare diagnose resnet50.onnx small.onnx --data val/ --preset imagenet");
  return {command, [arguments](Console& console) { diagnose(*arguments, console); }};
}

}  // namespace pare
