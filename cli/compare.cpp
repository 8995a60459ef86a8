#include "cli/arguments.h"
#include "cli/command.h"
#include "report/comparison.h"
#include "support/file.h"

namespace pare {
namespace {

struct Arguments {
  std::string a, b;
  BindArguments bind;
  CostArguments cost;
  bool json = false;
};

Candidate read_side(const std::string& path, const Arguments& arguments) {
  if (!path.ends_with(".json"))
    return candidate_of(report_model(path, arguments.bind, arguments.cost));
  const auto file = MappedFile::open(path);
  const std::span<const std::byte> bytes = file->bytes();
  return read_candidate(path,
                        std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

void compare(const Arguments& arguments) {
  const Candidate a = read_side(arguments.a, arguments), b = read_side(arguments.b, arguments);
  print_result(arguments.json ? to_json(a, b) : to_table(a, b));
}

}  // namespace

Command add_compare(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("compare", "Put two models, or two reports, side by side");
  command->add_option("A", arguments->a, "ONNX file, or .json of --report or inspect --json")
      ->type_name("FILE")
      ->required();
  command->add_option("B", arguments->b, "The same")->type_name("FILE")->required();
  arguments->bind.add_to(*command);
  arguments->cost.add_to(*command);
  command->add_flag("--json", arguments->json, "Print JSON");
  command->footer(
      "Examples:\n"
      "  pare compare resnet50.onnx small.onnx\n"
      "  pare compare monday.json tuesday.json");
  return {command, [arguments](Console&) { compare(*arguments); }};
}

}  // namespace pare
