#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>

#include "calib/compare.h"
#include "calib/runner.h"
#include "cli/accuracy.h"
#include "cli/arguments.h"
#include "cli/command.h"
#include "cli/data.h"
#include "support/text_table.h"

namespace pare {
namespace {

using Json = nlohmann::ordered_json;

struct Arguments {
  std::string model, against, labels, pipeline;
  BindArguments bind;
  DataArguments data;
  ThreadArguments threads;
  int64_t label_offset = 0, batch = 8, output = 0;
  double max_memory = 0;
  bool json = false;
};

struct Result {
  int64_t samples = 0;
  double seconds = 0;
  std::optional<Accuracy> accuracy, original;
  std::optional<Comparison> comparison;
};

/// The classes to hold the outputs against, or none where only another model is.
std::vector<int64_t> labels_of(const Arguments& arguments, const Dataset& data) {
  std::vector<int64_t> labels = read_labels(arguments.labels, data, arguments.label_offset);
  if (labels.empty() && arguments.against.empty())
    throw Error(ErrorKind::kUsage,
                "evaluate: expected --labels, --against, or images in folders of their class");
  return labels;
}

std::optional<Options> data_block(const std::string& pipeline) {
  return pipeline.empty() ? std::nullopt : parse_pipeline(pipeline).data;
}

std::vector<Tensor> forward(const std::string& model, Graph graph, const Dataset& data,
                            const Arguments& arguments, Console& console) {
  return with_context([&] { return model; },
                      [&] {
                        return run_outputs(
                            std::move(graph), data, data.spread(data.size()),
                            {.threads = arguments.threads.count(),
                             .batch = arguments.batch,
                             .max_memory = static_cast<int64_t>(1e9 * arguments.max_memory),
                             .progress = console.progress(),
                             .stage = "running " + model});
                      });
}

Result measure(const Arguments& arguments, Console& console) {
  if (arguments.batch < 1) throw Error(ErrorKind::kUsage, "--batch: expected a number above 0");
  Graph graph = arguments.bind.load(arguments.model);
  const Dataset data = arguments.data.open(graph, data_block(arguments.pipeline),
                                           arguments.threads.count(), console);
  const std::vector<int64_t> labels = labels_of(arguments, data);
  Result result{.samples = data.size()};
  std::optional<Graph> original;
  if (!arguments.against.empty()) {
    original = arguments.bind.load(arguments.against);
    data.check(*original);
  }
  const auto accuracy = [&](const std::string& model,
                            const std::vector<Tensor>& outputs) -> std::optional<Accuracy> {
    if (labels.empty()) return std::nullopt;
    if (arguments.output < 0 || static_cast<size_t>(arguments.output) >= outputs.size())
      throw Error(ErrorKind::kUsage, "--output " + std::to_string(arguments.output) + ": " + model +
                                         " has " + std::to_string(outputs.size()) + " outputs");
    return with_context(
        [&] { return model; },
        [&] { return measure_accuracy(outputs[static_cast<size_t>(arguments.output)], labels); });
  };
  const auto begun = std::chrono::steady_clock::now();
  const std::vector<Tensor> outputs =
      forward(arguments.model, std::move(graph), data, arguments, console);
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  result.accuracy = accuracy(arguments.model, outputs);
  if (original) {
    const std::vector<Tensor> reference =
        forward(arguments.against, *std::move(original), data, arguments, console);
    result.original = accuracy(arguments.against, reference);
    result.comparison =
        with_context([&] { return arguments.model + " against " + arguments.against; },
                     [&] { return compare_outputs(reference, outputs); });
  }
  return result;
}

std::string result_json(const Arguments& arguments, const Result& result) {
  Json json{{"model", arguments.model}, {"samples", result.samples}, {"seconds", result.seconds}};
  if (result.accuracy) {
    json["top1"] = result.accuracy->top1;
    json["top5"] = result.accuracy->top5;
  }
  if (result.comparison) {
    json["against"] = arguments.against;
    if (result.original) {
      json["against_top1"] = result.original->top1;
      json["against_top5"] = result.original->top5;
    }
    json["agreement"] = result.comparison->agreement;
    json["kl"] = result.comparison->kl;
    json["sqnr_db"] = result.comparison->sqnr_db;
    json["cosine"] = result.comparison->cosine;
    json["max_abs_error"] = result.comparison->max_abs_error;
  }
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string result_table(const Arguments& arguments, const Result& result) {
  const auto percent = [](double share) { return digits(100 * share, share < 0.1 ? 3 : 4) + " %"; };
  std::vector<TextTable::Column> columns = {{"", TextTable::Align::kLeft},
                                            {arguments.model, TextTable::Align::kRight, 40}};
  if (result.original) columns.push_back({arguments.against, TextTable::Align::kRight, 40});
  TextTable table(std::move(columns));
  if (result.accuracy) {
    const auto row = [&](const std::string& name, double Accuracy::*share) {
      table.add_row({name, percent((*result.accuracy).*share),
                     result.original ? percent((*result.original).*share) : ""});
    };
    row("top-1", &Accuracy::top1);
    row("top-5", &Accuracy::top5);
  }
  if (result.comparison) {
    table.add_row({"agreement", percent(result.comparison->agreement)});
    table.add_row({"KL (nats)", digits(result.comparison->kl, 3)});
    table.add_row({"SQNR (dB)", digits(result.comparison->sqnr_db, 3)});
    table.add_row({"cosine", digits(result.comparison->cosine, 6)});
    table.add_row({"largest error", digits(result.comparison->max_abs_error, 3)});
  }
  return table.str(result_width()) + "\n" + std::to_string(result.samples) + " samples in " +
         human_seconds(result.seconds) +
         (result.comparison ? "; agreement, KL and SQNR against " + printable(arguments.against)
                            : "") +
         "\n";
}

}  // namespace

Command add_evaluate(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand(
      "evaluate", "Measure a model on samples: accuracy, and how far it is from another model");
  command->add_option("MODEL", arguments->model, "ONNX file")->type_name("FILE")->required();
  arguments->data.add_to(*command, "Samples")->required();
  command
      ->add_option("--labels", arguments->labels,
                   "Class of each sample: .npy of integers, [N], or CSV of lines 'file,class' "
                   "(default: the folders images lie in)")
      ->type_name("FILE");
  command->add_option("--label-offset", arguments->label_offset,
                      "Added to every label, 1 for networks with a background class 0");
  command
      ->add_option("--against", arguments->against,
                   "The original: agreement, KL and SQNR are measured against its outputs")
      ->type_name("FILE");
  command->add_option("--output", arguments->output, "Which output holds the class scores")
      ->capture_default_str();
  command
      ->add_option("-p,--pipeline", arguments->pipeline,
                   "YAML file whose data: block says how samples are prepared")
      ->type_name("FILE");
  command->add_option("--batch", arguments->batch, "Samples run at once on a thread")
      ->capture_default_str();
  command
      ->add_option("--max-memory", arguments->max_memory,
                   "Gigabytes of activations held at once: smaller batches, fewer threads")
      ->type_name("GB")
      ->check(CLI::PositiveNumber);
  arguments->bind.add_to(*command);
  arguments->threads.add_to(*command);
  command->add_flag("--json", arguments->json, "Print JSON");
  command->footer(
      "Examples:\n"
      "  pare evaluate resnet50.onnx --data val/ --preset imagenet\n"
      "  pare evaluate small.onnx --against resnet56.onnx --data test_x.npy --labels test_y.npy "
      "\\\n"
      "    --scale 0.00392157 --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225");
  return {command, [arguments](Console& console) {
            const Result result = measure(*arguments, console);
            print_result(arguments->json ? result_json(*arguments, result)
                                         : result_table(*arguments, result));
          }};
}

}  // namespace pare
