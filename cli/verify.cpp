#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "calib/npy.h"
#include "cli/arguments.h"
#include "cli/command.h"
#include "cli/data.h"
#include "passes/shift_check.h"
#include "passes/shift_rules.h"
#include "report/model_report.h"
#include "support/text_table.h"

namespace pare {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using Dump = std::map<std::string, Tensor>;

struct Arguments {
  std::string model, profile = "dpu", dump, rounding = "half-even";
  BindArguments bind;
  DataArguments data;
  ThreadArguments threads;
  bool json = false;
};

/// The arrays of a .npz, or of the .npy files of a folder, by name.
Dump read_dump(const std::string& path) {
  if (!fs::is_directory(path)) return read_npz(path);
  Dump dump;
  for (const fs::directory_entry& entry : fs::directory_iterator(path))
    if (entry.path().extension() == ".npy")
      dump.emplace(entry.path().stem().string(), read_npy(entry.path().string()));
  if (dump.empty())
    throw Error(ErrorKind::kInput, path + ": holds no .npy file, expected one a tensor");
  return dump;
}

/// The model's inputs from the dump; empty where it lacks one.
std::vector<Tensor> dumped_inputs(const Graph& graph, const Dump& dump) {
  std::vector<Tensor> inputs;
  for (const ValueId id : graph.inputs()) {
    const Tensor* tensor = find_dumped(dump, graph.value(id).name);
    if (!tensor || tensor->dtype() != graph.type(id).dtype ||
        tensor->shape().size() != graph.type(id).shape.size())
      return {};
    inputs.push_back(*tensor);
  }
  return inputs;
}

struct Result {
  RuleCheck check;
  bool simulated = false;
  std::vector<TensorMatch> matches;
};

Result verify_model(const Graph& graph, const Arguments& arguments, Console& console) {
  Result result{.check = check_shift_rules(graph)};
  if (!result.check.breaks.empty()) return result;
  const ShiftRounding rounding =
      arguments.rounding == "half-up" ? ShiftRounding::kHalfUp : ShiftRounding::kHalfEven;
  Dump dump;
  std::vector<Tensor> inputs;
  if (!arguments.dump.empty()) {
    dump = read_dump(arguments.dump);
    inputs = dumped_inputs(graph, dump);
  }
  if (inputs.empty() && !arguments.data.data.empty())
    inputs = arguments.data.open(graph, {}, arguments.threads.count(), console).samples(graph, {0});
  if (inputs.empty() && !arguments.dump.empty())
    throw Error(ErrorKind::kUsage,
                "--dump " + arguments.dump +
                    ": the model's inputs are not in it, expected them there or by --data");
  if (inputs.empty()) return result;
  result.simulated = true;
  result.matches = arguments.dump.empty() ? compare_with_float(graph, inputs, rounding)
                                          : compare_with_dump(graph, inputs, rounding, dump);
  if (!arguments.dump.empty() && result.matches.empty())
    throw Error(ErrorKind::kInput,
                arguments.dump + ": no array has the name of a quantized tensor");
  return result;
}

const TensorMatch* first_different(const Result& result) {
  const auto found = std::ranges::find_if(
      result.matches, [](const TensorMatch& match) { return match.different > 0; });
  return found == result.matches.end() ? nullptr : &*found;
}

std::string sentence(const Graph& graph, const TensorMatch& match) {
  std::string at;
  for (const int64_t index : match.at) at += (at.empty() ? "" : ", ") + std::to_string(index);
  return describe(graph.node(match.maker)) + ": " +
         with_commas(static_cast<uint64_t>(match.different)) + " of " +
         with_commas(static_cast<uint64_t>(match.elements)) + " numbers of '" +
         printable(match.tensor) + "' differ, by " + std::to_string(match.largest) +
         (match.largest == 1 ? " step" : " steps") + " at most, first at [" + at + "] (" +
         digits(match.expected, 6) + ", simulated " + digits(match.simulated, 6) + ")";
}

std::string result_text(const Graph& graph, const Arguments& arguments, const Result& result) {
  std::string text;
  for (const RuleBreak& rule : result.check.breaks) text += printable(rule.sentence) + "\n";
  if (result.check.breaks.empty()) text += "obeys the rules of profile " + arguments.profile + "\n";
  for (const NodeId id : result.check.in_float)
    text += "in float, for a processor: " + printable(describe(graph.node(id))) + "\n";
  if (!result.simulated) return text;
  int64_t elements = 0, different = 0, largest = 0;
  for (const TensorMatch& match : result.matches) {
    elements += match.elements;
    different += match.different;
    largest = std::max(largest, match.largest);
  }
  text += "simulated in integers: " + with_commas(static_cast<uint64_t>(elements - different)) +
          " of " + with_commas(static_cast<uint64_t>(elements)) + " numbers of " +
          std::to_string(result.matches.size()) + " tensors equal " +
          (arguments.dump.empty() ? "the model computed in float" : "the dump") +
          (different > 0 ? ", others differ by " + std::to_string(largest) + " at most" : "") +
          "\n";
  if (const TensorMatch* first = first_different(result))
    text += "first to differ: " + sentence(graph, *first) + "\n";
  return text;
}

Json to_json(const Graph& graph, const TensorMatch& match) {
  return {{"node", layer_name(graph, graph.node(match.maker))},
          {"tensor", match.tensor},
          {"elements", match.elements},
          {"different", match.different},
          {"largest", match.largest}};
}

std::string result_json(const Graph& graph, const Arguments& arguments, const Result& result) {
  Json breaks = Json::array(), in_float = Json::array(), tensors = Json::array();
  for (const RuleBreak& rule : result.check.breaks)
    breaks.push_back(
        {{"node", layer_name(graph, graph.node(rule.node))}, {"sentence", rule.sentence}});
  for (const NodeId id : result.check.in_float)
    in_float.push_back({{"name", layer_name(graph, graph.node(id))}, {"op", graph.node(id).op}});
  for (const TensorMatch& match : result.matches) tensors.push_back(to_json(graph, match));
  const TensorMatch* first = first_different(result);
  return Json{{"model", arguments.model},
              {"profile", arguments.profile},
              {"breaks", breaks},
              {"in_float", in_float},
              {"simulated", result.simulated},
              {"first_different", first ? to_json(graph, *first) : Json()},
              {"tensors", tensors}}
             .dump(2, ' ', false, Json::error_handler_t::replace) +
         "\n";
}

void verify(const Arguments& arguments, Console& console) {
  const Graph graph = arguments.bind.load(arguments.model);
  const Result result = with_context([&] { return arguments.model; },
                                     [&] { return verify_model(graph, arguments, console); });
  print_result(arguments.json ? result_json(graph, arguments, result)
                              : result_text(graph, arguments, result));
  if (!result.check.breaks.empty())
    throw GateFailed{arguments.model + " breaks the rules of profile " + arguments.profile +
                     " in " + std::to_string(result.check.breaks.size()) + " places"};
  if (const TensorMatch* first = first_different(result); first && !arguments.dump.empty())
    throw GateFailed{"the dump differs first at " + describe(graph.node(first->maker))};
}

}  // namespace

Command add_verify(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand(
      "verify", "Check that hardware can run a quantized model, and simulate it bit by bit");
  command->add_option("MODEL", arguments->model, "ONNX file in QDQ form")
      ->type_name("FILE")
      ->required();
  command
      ->add_option("--profile", arguments->profile, "The hardware: dpu, which rescales by shifting")
      ->check(CLI::IsMember({"dpu"}))
      ->capture_default_str();
  command
      ->add_option("--dump", arguments->dump,
                   "Tensors the hardware computed, by name: a .npz, or a folder of .npy files; the "
                   "first that differs is named")
      ->type_name("FILE|FOLDER");
  command
      ->add_option("--rounding", arguments->rounding,
                   "What shifts do with halves: half-even as QuantizeLinear, half-up as DPUCZDX8G")
      ->check(CLI::IsMember({"half-even", "half-up"}))
      ->capture_default_str();
  arguments->data.limit = 1;
  arguments->data.add_to(*command,
                         "The input to simulate, where the dump has none: its first sample");
  arguments->bind.add_to(*command);
  arguments->threads.add_to(*command);
  command->add_flag("--json", arguments->json, "Print JSON");
  command->footer(
      "Ends with exit code 1 where a rule is broken or the dump differs.\n"
      "Examples:\n"
      "  pare verify small.onnx\n"
      "  pare verify small.onnx --data val/ --preset imagenet\n"
      "  pare verify small.onnx --dump board.npz --rounding half-up");
  return {command, [arguments](Console& console) { verify(*arguments, console); }};
}

}  // namespace pare
