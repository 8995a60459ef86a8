#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "calib/npy.h"
#include "cli/arguments.h"
#include "cli/command.h"
#include "exec/interpreter.h"
#include "importers/onnx/tensor_file.h"
#include "support/text_table.h"

namespace pare {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

struct Arguments {
  std::string model, folder;
  std::vector<std::string> files, named, outputs;
  BindArguments bind;
  bool json = false;
};

std::pair<std::string, std::string> split(const std::string& option, const std::string& text) {
  const size_t equals = text.rfind('=');
  if (equals == std::string::npos || equals == 0 || equals + 1 == text.size())
    throw Error(ErrorKind::kUsage, option + ": '" + text + "' is no NAME=FILE");
  return {text.substr(0, equals), text.substr(equals + 1)};
}

Tensor read_tensor(const std::string& path) {
  if (path.ends_with(".npy")) return read_npy(path);
  if (path.ends_with(".pb")) return read_tensor_pb(path);
  throw Error(ErrorKind::kUsage, path + ": expected a .npy, .npz or .pb file");
}

/// Throws unless `tensor` can be fed to a graph input; symbolic extents may differ.
void check_input(const Value& input, const Tensor& tensor, const std::string& file) {
  bool fits = tensor.dtype() == input.type.dtype;
  if (input.type.ranked) {
    fits = fits && tensor.shape().size() == input.type.shape.size();
    for (size_t axis = 0; fits && axis < tensor.shape().size(); ++axis) {
      const bool symbolic = axis < input.dim_symbols.size() && !input.dim_symbols[axis].empty();
      fits =
          symbolic || input.type.shape[axis] < 0 || tensor.shape()[axis] == input.type.shape[axis];
    }
  }
  if (!fits)
    throw Error(ErrorKind::kInput, file + ": holds " + to_string(tensor.type()) + ", but input '" +
                                       input.name + "' is " + to_string(input.type));
}

/// Tensors by input name, from --input NAME=FILE, .npz archives and files in the inputs' order.
std::map<std::string, std::pair<std::string, Tensor>> read_inputs(const Graph& graph,
                                                                  const Arguments& arguments) {
  std::map<std::string, std::pair<std::string, Tensor>> tensors;
  for (const std::string& text : arguments.named) {
    const auto [name, file] = split("--input", text);
    tensors[name] = {file, read_tensor(file)};
  }
  for (const std::string& file : arguments.files) {
    if (file.ends_with(".npz")) {
      for (auto& [name, tensor] : read_npz(file)) tensors[name] = {file, std::move(tensor)};
      continue;
    }
    const auto next = std::ranges::find_if(
        graph.inputs(), [&](ValueId input) { return !tensors.contains(graph.value(input).name); });
    if (next == graph.inputs().end())
      throw Error(ErrorKind::kUsage, file + ": the model has only " +
                                         std::to_string(graph.inputs().size()) + " inputs");
    tensors[graph.value(*next).name] = {file, read_tensor(file)};
  }
  return tensors;
}

std::vector<Tensor> inputs_of(const Graph& graph, const Arguments& arguments) {
  auto tensors = read_inputs(graph, arguments);
  std::vector<Tensor> inputs;
  for (ValueId id : graph.inputs()) {
    const Value& input = graph.value(id);
    const auto found = tensors.find(input.name);
    if (found == tensors.end())
      throw Error(ErrorKind::kUsage,
                  "no tensor was given for input '" + input.name + "', " + to_string(input.type));
    check_input(input, found->second.second, found->second.first);
    inputs.push_back(std::move(found->second.second));
    tensors.erase(found);
  }
  if (!tensors.empty())
    throw Error(ErrorKind::kUsage, tensors.begin()->second.first +
                                       ": the model has no input named '" + tensors.begin()->first +
                                       "'");
  return inputs;
}

/// A value's name as a file name: what could lead out of the folder becomes '_'.
std::string file_name(const std::string& name) {
  std::string file = printable(name);
  std::ranges::replace_if(
      file, [](char c) { return c == '/' || c == '\\' || c == ':' || c == '?'; }, '_');
  if (file.starts_with('.')) file.front() = '_';
  return file + ".npy";
}

/// Makes the folder where it is not there yet; the one it lies in must be.
void make_folder(const std::string& folder) {
  std::error_code failure;
  fs::create_directory(folder, failure);
  if (failure || !fs::is_directory(folder))
    throw Error(ErrorKind::kUsage, "--output-dir " + folder + ": no folder can be made there" +
                                       (failure ? ", " + failure.message() : std::string()));
}

/// Where each output goes, "" for nowhere; checked before anything runs.
std::vector<std::string> targets_of(const Graph& graph, const Arguments& arguments) {
  std::vector<std::string> inputs = arguments.files;
  inputs.push_back(arguments.model);
  for (const std::string& text : arguments.named) inputs.push_back(split("--input", text).second);
  std::map<std::string, std::string> chosen;
  for (const std::string& text : arguments.outputs) {
    const auto [name, file] = split("--output", text);
    chosen[name] = file;
  }
  std::vector<std::string> targets;
  for (ValueId id : graph.outputs()) {
    const std::string& name = graph.value(id).name;
    const auto found = chosen.find(name);
    if (found != chosen.end()) {
      targets.push_back(found->second);
      chosen.erase(found);
    } else {
      targets.push_back(
          arguments.folder.empty() ? "" : (fs::path(arguments.folder) / file_name(name)).string());
    }
    if (targets.back().empty()) continue;
    check_output("--output", targets.back(), inputs);
    inputs.push_back(targets.back());
  }
  if (!chosen.empty())
    throw Error(ErrorKind::kUsage,
                "--output: the model has no output named '" + chosen.begin()->first + "'");
  return targets;
}

struct Summary {
  double min = 0, max = 0, mean = 0;
};

std::optional<Summary> summarize(const Tensor& tensor) {
  if (tensor.size() == 0 || !(is_float(tensor.dtype()) || is_integer(tensor.dtype())))
    return std::nullopt;
  const Tensor numbers = cast(tensor, DType::kF64);
  const std::span<const double> values = numbers.data<double>();
  Summary summary{.min = values[0], .max = values[0]};
  for (double value : values) {
    summary.min = std::min(summary.min, value);
    summary.max = std::max(summary.max, value);
    summary.mean += value / static_cast<double>(values.size());
  }
  return summary;
}

void run(const Arguments& arguments) {
  const Graph graph = arguments.bind.load(arguments.model);
  const std::vector<Tensor> inputs = inputs_of(graph, arguments);
  if (!arguments.folder.empty()) make_folder(arguments.folder);
  const std::vector<std::string> targets = targets_of(graph, arguments);
  const std::vector<Tensor> outputs = execute(graph, inputs);
  TextTable table({{"output", TextTable::Align::kLeft, 40},
                   {"type", TextTable::Align::kLeft},
                   {"min"},
                   {"mean"},
                   {"max"},
                   {"written to", TextTable::Align::kLeft}});
  Json list = Json::array();
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (!targets[i].empty()) write_npy(targets[i], outputs[i]);
    const std::optional<Summary> summary = summarize(outputs[i]);
    const auto cell = [&](double Summary::*figure) {
      return summary ? digits((*summary).*figure, 5) : std::string("-");
    };
    const auto number = [&](double Summary::*figure) {
      return summary ? Json((*summary).*figure) : Json();
    };
    list.push_back({{"output", graph.value(graph.outputs()[i]).name},
                    {"type", to_string(outputs[i].type())},
                    {"min", number(&Summary::min)},
                    {"mean", number(&Summary::mean)},
                    {"max", number(&Summary::max)},
                    {"file", targets[i].empty() ? Json() : Json(targets[i])}});
    table.add_row({graph.value(graph.outputs()[i]).name, to_string(outputs[i].type()),
                   cell(&Summary::min), cell(&Summary::mean), cell(&Summary::max), targets[i]});
  }
  print_result(arguments.json ? list.dump(2, ' ', false, Json::error_handler_t::replace) + "\n"
                              : table.str(result_width()));
}

}  // namespace

Command add_run(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("run", "Run a model once on given tensors");
  command->add_option("MODEL", arguments->model, "ONNX file")->type_name("FILE")->required();
  command
      ->add_option("FILES", arguments->files,
                   "Tensors in the order of the inputs (.npy, .pb), or .npz named like them")
      ->type_name("FILE");
  command->add_option("-i,--input", arguments->named, "Tensor of one input. Repeatable")
      ->type_name("NAME=FILE")
      ->allow_extra_args(false);
  command
      ->add_option("-o,--output-dir", arguments->folder,
                   "Folder that takes every output as NAME.npy; made where it is missing")
      ->type_name("FOLDER");
  command->add_option("--output", arguments->outputs, "File for one output. Repeatable")
      ->type_name("NAME=FILE")
      ->allow_extra_args(false);
  arguments->bind.add_to(*command);
  command->add_flag("--json", arguments->json, "Print JSON");
  command->footer("Example:\n  pare run resnet50.onnx image.npy -o outputs/");
  return {command, [arguments](Console&) { run(*arguments); }};
}

}  // namespace pare
