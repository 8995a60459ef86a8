#include "cli/arguments.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <thread>

#include "importers/onnx/import.h"
#include "ops/ops.h"
#include "support/sha256.h"

namespace pare {
namespace {

namespace fs = std::filesystem;

constexpr double kMaxRate = 1e12;
constexpr int kMaxThreads = 1024;

[[noreturn]] void usage(const std::string& sentence) { throw Error(ErrorKind::kUsage, sentence); }

/// Symbols of the inputs' dims, each once, in order.
std::vector<std::string> symbols_of(const Graph& graph) {
  std::vector<std::string> symbols;
  for (ValueId input : graph.inputs())
    for (const std::string& symbol : graph.value(input).dim_symbols)
      if (!symbol.empty() && std::ranges::find(symbols, symbol) == symbols.end())
        symbols.push_back(symbol);
  return symbols;
}

/// The file a path leads to, through links; the path as written where there is none yet.
fs::path identity(const std::string& path) {
  std::error_code failure;
  const fs::path real = fs::weakly_canonical(path, failure);
  return failure ? fs::path(path) : real;
}

}  // namespace

// -- Model ----------------------------------------------------------------------

void BindArguments::add_to(CLI::App& command) {
  command
      .add_option("--bind", bind,
                  "Extent of a symbolic dimension, NAME=EXTENT; others are bound to 1. Repeatable")
      ->type_name("NAME=EXTENT")
      ->allow_extra_args(false);
}

Graph BindArguments::load(const std::string& model) const {
  ImportOptions options;
  for (const std::string& text : bind) {
    const size_t equals = text.find('=');
    int64_t extent = 0;
    const char* end = text.data() + text.size();
    if (equals != std::string::npos) {
      const auto [stop, failure] = std::from_chars(text.data() + equals + 1, end, extent);
      if (failure != std::errc() || stop != end) extent = 0;
    }
    if (equals == 0 || extent < 1) usage("--bind: '" + text + "' is no NAME=EXTENT, as in N=1");
    options.bind[text.substr(0, equals)] = extent;
  }
  Graph graph = import_onnx(model, onnx_ops(), options);
  const std::vector<std::string> known = symbols_of(graph);
  for (const auto& [symbol, extent] : options.bind) {
    if (std::ranges::find(known, symbol) != known.end()) continue;
    std::string list;
    for (const std::string& name : known) list += (list.empty() ? "" : ", ") + name;
    usage("--bind " + symbol + "=" + std::to_string(extent) + ": the inputs of " + model +
          " have no symbolic dimension of that name, " +
          (known.empty() ? "nor any other" : "expected one of " + list));
  }
  return graph;
}

// -- Cost -------------------------------------------------------------------------

void CostArguments::add_to(CLI::App& command) {
  command.add_option("--fps", rate, "Inferences per second that power is given at")
      ->capture_default_str();
  command
      .add_option("--convention", convention,
                  "How energy is charged: 'mac' (arithmetic and memory) or 'article' (a multiply "
                  "and an add per operation, no memory)")
      ->capture_default_str();
  command
      .add_option("--energy-table", table,
                  "YAML file with the energy of operations and memories (default: Horowitz, "
                  "45 nm)")
      ->type_name("FILE");
  command.add_option("--buffer", buffer, "On-chip buffer assumed for DRAM traffic")
      ->type_name("BYTES")
      ->default_str("1MiB");
}

void CostArguments::add_precision_to(CLI::App& command) {
  command.add_option("--precision", precision,
                     "What if all floats were fp32, fp16, int8, int4, ..., binary");
}

void CostArguments::add_device_to(CLI::App& command) {
  command
      .add_option("--device", device,
                  "Foresee frames per second and utilisation on a device, and take its on-chip "
                  "buffer and energy table: a name (docs/devices.md) or a YAML file")
      ->type_name("NAME|FILE");
}

std::optional<DeviceProfile> CostArguments::profile() const {
  if (device.empty()) return std::nullopt;
  return with_context([] { return "--device"; }, [&] { return DeviceProfile::find(device); });
}

CostOptions CostArguments::options() const {
  CostOptions options;
  if (!(rate > 0 && rate <= kMaxRate))
    usage("--fps: expected a number of inferences per second above 0");
  if (convention == "article") {
    options.convention = Convention::kArticle;
  } else if (convention != "mac") {
    usage("--convention: '" + convention + "' is unknown, expected mac or article");
  }
  const std::optional<DeviceProfile> on = profile();
  const std::string energy = table.empty() && on ? on->energy : table;
  if (!energy.empty() && energy != options.table.name) options.table = EnergyTable::load(energy);
  if (on) options.buffer_bytes = on->buffer_bytes;
  if (!buffer.empty()) options.buffer_bytes = parse_bytes("--buffer", buffer);
  if (!precision.empty()) {
    options.precision = Precision::parse(precision);
    if (!options.precision)
      usage("--precision: '" + precision +
            "' is unknown, expected fp32, fp16, int2 to int32, or binary");
  }
  return options;
}

ModelReport report_model(const std::string& model, const BindArguments& bind,
                         const CostArguments& cost) {
  const CostOptions options = cost.options();
  Graph graph = bind.load(model);
  Cost counted = estimate_cost(graph, options);
  std::optional<DeviceReport> device;
  if (std::optional<DeviceProfile> profile = cost.profile())
    device = {.estimate = estimate_device(graph, *profile), .profile = std::move(*profile)};
  return {.model = model,
          .sha256 = sha256_of_file(model),
          .graph = std::move(graph),
          .cost = std::move(counted),
          .options = options,
          .rate = cost.rate,
          .device = std::move(device)};
}

// -- Numbers ----------------------------------------------------------------------

uint64_t parse_bytes(const std::string& option, const std::string& text) {
  double number = -1;
  const auto [stop, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  std::string unit(stop, text.data() + text.size());
  unit.erase(0, unit.find_first_not_of(' '));
  if (unit.ends_with("B")) unit.pop_back();
  if (unit.ends_with("i")) unit.pop_back();
  const size_t power = unit.empty() ? 0 : std::string_view("KMG").find(unit) + 1;
  if (failure != std::errc() || !(number >= 0 && number < 1e9) || unit.size() > 1 ||
      (!unit.empty() && power == 0))
    usage(option + ": '" + text + "' is no size, expected bytes as in 4096, 512KiB or 4MiB");
  return static_cast<uint64_t>(number * std::pow(1024.0, static_cast<double>(power)));
}

// -- Passes ---------------------------------------------------------------------------

void PipelineArguments::add_to(CLI::App& command) {
  command
      .add_option("-p,--pipeline", file,
                  "YAML file with the passes, or the name of a ready pipeline")
      ->type_name("FILE");
  command.add_option("--pass", passes, "A pass to run, behind those of the pipeline. Repeatable")
      ->type_name("'NAME: {KEY: VALUE}'")
      ->allow_extra_args(false);
  add_settings_to(command);
}

void PipelineArguments::add_settings_to(CLI::App& command) {
  command
      .add_option(
          "--set", settings,
          "Change a setting of the pipeline: prune-channels.macs=-35%, variables.macs=-35%, "
          "seed=7. Repeatable")
      ->type_name("PASS.KEY=VALUE")
      ->allow_extra_args(false);
}

Pipeline PipelineArguments::read() const {
  std::vector<Setting> changes;
  for (const std::string& setting : settings) {
    changes.push_back(parse_setting(setting));
    if (file.empty() && changes.back().target == "variables")
      usage("--set " + setting + ": there is no pipeline file with variables (-p)");
  }
  Pipeline pipeline;
  if (!file.empty()) pipeline = parse_pipeline(file, changes);
  if (!passes.empty()) {
    std::string text = "passes:\n";
    for (const std::string& pass : passes) text += "  - " + pass + "\n";
    Pipeline more = parse_pipeline_text(text, "--pass");
    pipeline.text += (pipeline.text.empty() ? "" : "# and by --pass:\n") + more.text;
    std::ranges::move(more.passes, std::back_inserter(pipeline.passes));
  }
  for (const Setting& change : changes) change_setting(pipeline, change);
  return pipeline;
}

// -- Threads and files ------------------------------------------------------------------

void ThreadArguments::add_to(CLI::App& command) {
  command.add_option("--threads", threads, "Threads to compute on (default: one a core)");
}

int ThreadArguments::count() const {
  if (threads < 0 || threads > kMaxThreads)
    usage("--threads: expected a number from 1 to " + std::to_string(kMaxThreads));
  return threads > 0 ? threads : std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

void check_output(const std::string& option, const std::string& output,
                  const std::vector<std::string>& inputs) {
  const auto fail = [&](const std::string& fact) { usage(option + " " + output + ": " + fact); };
  if (output.empty()) usage(option + ": the file name is empty");
  for (const std::string& input : inputs)
    if (!input.empty() && identity(input) == identity(output))
      fail("this is also the file " + input + ", expected another one");
  std::error_code failure;
  if (fs::is_directory(output, failure)) fail("this is a folder, expected a file name");
  const fs::path folder = fs::path(output).parent_path();
  const fs::path place = folder.empty() ? fs::path(".") : folder;
  if (!fs::is_directory(place, failure)) fail("the folder " + place.string() + " does not exist");
  if (access(place.c_str(), W_OK | X_OK) != 0)
    fail("the folder " + place.string() + " cannot be written to");
  if (fs::exists(output, failure) && !fs::is_regular_file(output, failure))
    fail("this is no regular file");
}

}  // namespace pare
