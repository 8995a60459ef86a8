#include <algorithm>
#include <chrono>
#include <ctime>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "cli/arguments.h"
#include "cli/command.h"
#include "cost/cost.h"
#include "exec/plan.h"
#include "support/parallel.h"
#include "support/text_table.h"
#include "tensor/gemm.h"

namespace pare {
namespace {

using Clock = std::chrono::steady_clock;
using Json = nlohmann::ordered_json;

struct Arguments {
  std::string model, against;
  BindArguments bind;
  ThreadArguments threads;
  int64_t batch = 1;
  double seconds = 2;
  bool layers = false, json = false;
};

/// One model on this machine. Times are medians [s].
struct Measured {
  std::string model;
  double latency = 0;     ///< Of one batch on one thread.
  double cpu = 0;         ///< What that thread computed meanwhile; less where others want the core.
  double throughput = 0;  ///< Samples a second, each thread with a batch of its own.
  double flops = 0;       ///< 2 per MAC, a second, on one thread.
  int64_t runs = 0;
  size_t activation_bytes = 0, weight_bytes = 0;
  std::vector<PlanStep> steps;
  std::vector<double> step_seconds;
  std::vector<uint64_t> step_macs;
};

/// Time the calling thread has computed.
double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

std::string percent(double share) { return digits(100 * share, 3) + " %"; }

double median(std::vector<double> values) {
  std::ranges::nth_element(values, values.begin() + std::ssize(values) / 2);
  return values[values.size() / 2];
}

/// Floating point operations a second that a large matrix product reaches on one thread.
double peak_flops() {
  constexpr int64_t kSize = 1024;
  constexpr int kRuns = 8;
  const std::vector<float> a(kSize * kSize, 0.5f), b(kSize * kSize, 0.25f);
  std::vector<float> c(kSize * kSize);
  double best = 0;
  for (int i = 0; i < kRuns; ++i) {
    const double start = cpu_seconds();
    gemm(Transpose::kNo, Transpose::kNo, kSize, kSize, kSize, a.data(), kSize, b.data(), kSize, 0,
         c.data(), kSize);
    best = std::max(best, 2.0 * kSize * kSize * kSize / (cpu_seconds() - start));
  }
  return best;
}

std::vector<Shape> input_shapes(const Graph& graph, int64_t batch) {
  std::vector<Shape> shapes;
  bool bound = batch == 1;
  for (ValueId id : graph.inputs()) {
    Shape& shape = shapes.emplace_back(graph.shape(id));
    const std::vector<std::string>& symbols = graph.value(id).dim_symbols;
    if (batch == 1 || symbols.empty() || symbols[0].empty()) continue;
    shape[0] = batch;
    bound = true;
  }
  if (!bound)
    throw Error(ErrorKind::kUsage,
                "--batch " + std::to_string(batch) + ": the model's inputs have a fixed batch");
  return shapes;
}

/// Something to compute with: a fixed pattern in [-1, 1], zeros for integers.
Tensor pattern(const TensorType& type) {
  Tensor tensor(type.dtype, type.shape);
  if (type.dtype != DType::kF32) return tensor;
  int64_t i = 0;
  for (float& x : tensor.mutable_data<float>())
    x = static_cast<float>(i++ * 37 % 201) / 100.0f - 1.0f;
  return tensor;
}

std::vector<uint64_t> macs_of_steps(const Graph& graph, const std::vector<PlanStep>& steps) {
  std::vector<uint64_t> macs;
  for (const PlanStep& step : steps) {
    uint64_t& sum = macs.emplace_back(0);
    for (NodeId id : step.nodes) {
      const Node& node = graph.node(id);
      const std::vector<Operand> operands = graph.operands(node);
      const bool known =
          std::ranges::all_of(operands, [](const Operand& x) { return !x || x.type->known(); });
      if (node.def && node.def->macs && known)
        sum += node.def->macs(node, operands, graph.output_types(node));
    }
  }
  return macs;
}

Measured measure(const std::string& model, const Arguments& arguments, const Progress& progress) {
  Graph graph = arguments.bind.load(model);
  const std::vector<Shape> shapes = input_shapes(graph, arguments.batch);
  const Plan plan(std::move(graph), {.input_shapes = shapes});
  std::vector<Tensor> inputs;
  for (ValueId id : plan.graph().inputs()) inputs.push_back(pattern(plan.graph().type(id)));
  Measured result{.model = model,
                  .activation_bytes = plan.activation_bytes(),
                  .weight_bytes = plan.weight_bytes(),
                  .steps = plan.steps(),
                  .step_macs = macs_of_steps(plan.graph(), plan.steps())};
  result.step_seconds.resize(plan.steps().size());
  plan.run(inputs);  // The first run allocates.
  std::vector<double> times, cpu_times;
  const Clock::time_point start = Clock::now();
  while (times.size() < 3 || seconds_since(start) < arguments.seconds) {
    progress.check();
    const Clock::time_point begun = Clock::now();
    const double cpu = cpu_seconds();
    plan.run_timed(inputs, result.step_seconds);
    times.push_back(seconds_since(begun));
    cpu_times.push_back(cpu_seconds() - cpu);
  }
  for (double& seconds : result.step_seconds) seconds /= static_cast<double>(times.size());
  result.latency = median(times);
  result.cpu = median(cpu_times);
  result.runs = std::ssize(times);
  double operations = 0;
  for (uint64_t macs : result.step_macs) operations += 2 * static_cast<double>(macs);
  result.flops = operations / result.cpu;

  const int threads = arguments.threads.count();
  const int64_t batches = std::max<int64_t>(threads, result.runs * threads / 2);
  const Clock::time_point together = Clock::now();
  parallel_for(batches, threads, [&](int64_t) {
    progress.check();
    plan.run(inputs);
  });
  result.throughput = static_cast<double>(batches * arguments.batch) / seconds_since(together);
  return result;
}

Json to_json(const Measured& m, double peak) {
  Json json = {{"model", m.model},
               {"runs", m.runs},
               {"latency_seconds", m.latency},
               {"cpu_seconds", m.cpu},
               {"samples_per_second", m.throughput},
               {"flops", m.flops},
               {"share_of_peak", m.flops / peak},
               {"activation_bytes", m.activation_bytes},
               {"packed_weight_bytes", m.weight_bytes},
               {"steps", Json::array()}};
  for (size_t i = 0; i < m.steps.size(); ++i)
    json["steps"].push_back({{"kind", m.steps[i].kind},
                             {"implementation", m.steps[i].implementation},
                             {"layout", m.steps[i].layout},
                             {"macs", m.step_macs[i]},
                             {"seconds", m.step_seconds[i]}});
  return json;
}

std::string step_table(const Measured& m, double peak) {
  TextTable table({{.title = "step", .align = TextTable::Align::kLeft, .max_width = 44},
                   {.title = "implementation", .align = TextTable::Align::kLeft, .max_width = 28},
                   {.title = "layout", .align = TextTable::Align::kLeft},
                   {.title = "time"},
                   {.title = "share"},
                   {.title = "of peak"}});
  double sum = 0;
  for (double seconds : m.step_seconds) sum += seconds;
  for (size_t i = 0; i < m.steps.size(); ++i) {
    const double rate = 2 * static_cast<double>(m.step_macs[i]) / m.step_seconds[i];
    table.add_row({m.steps[i].kind, m.steps[i].implementation, m.steps[i].layout,
                   si(m.step_seconds[i], "s"), percent(m.step_seconds[i] / sum),
                   m.step_macs[i] > 0 ? percent(rate / peak) : ""});
  }
  return table.str(result_width());
}

std::string summary(const std::vector<Measured>& measured, const Arguments& arguments,
                    double peak) {
  std::vector<TextTable::Column> columns = {{.title = "", .align = TextTable::Align::kLeft}};
  for (const Measured& m : measured) columns.push_back({.title = m.model, .max_width = 40});
  if (measured.size() > 1) columns.push_back({.title = "ratio"});
  TextTable table(columns);
  const auto add = [&](const std::string& name, auto&& text, auto&& number) {
    std::vector<std::string> row = {name};
    for (const Measured& m : measured) row.push_back(text(m));
    if (measured.size() > 1) row.push_back(digits(number(measured[0]) / number(measured[1]), 3));
    table.add_row(row);
  };
  const std::string batch = "batch " + std::to_string(arguments.batch);
  add(
      "latency, " + batch + ", 1 thread", [](const Measured& m) { return si(m.latency, "s"); },
      [](const Measured& m) { return m.latency; });
  add(
      "processor time of that", [](const Measured& m) { return si(m.cpu, "s"); },
      [](const Measured& m) { return m.cpu; });
  add(
      "samples/s, " + std::to_string(arguments.threads.count()) + " threads",
      [](const Measured& m) { return digits(m.throughput, 4); },
      [](const Measured& m) { return m.throughput; });
  add(
      "of the " + si(peak, "FLOP/s") + " peak",
      [&](const Measured& m) { return percent(m.flops / peak); },
      [](const Measured& m) { return m.flops; });
  add(
      "activations", [](const Measured& m) { return human_bytes(m.activation_bytes); },
      [](const Measured& m) { return static_cast<double>(m.activation_bytes); });
  add(
      "packed weights", [](const Measured& m) { return human_bytes(m.weight_bytes); },
      [](const Measured& m) { return static_cast<double>(m.weight_bytes); });
  return table.str(result_width());
}

void bench(const Arguments& arguments, Console& console) {
  if (arguments.batch < 1) throw Error(ErrorKind::kUsage, "--batch: expected a number above 0");
  std::vector<Measured> measured;
  for (const std::string& model : {arguments.model, arguments.against}) {
    if (!model.empty())
      measured.push_back(with_context(
          [&] { return model; }, [&] { return measure(model, arguments, console.progress()); }));
  }
  const double peak = peak_flops();  // Behind the models: its matrices do not add to their memory.
  if (arguments.json) {
    Json json = {{"batch", arguments.batch},
                 {"threads", arguments.threads.count()},
                 {"peak_flops", peak},
                 {"models", Json::array()}};
    for (const Measured& m : measured) json["models"].push_back(to_json(m, peak));
    print_result(json.dump(2) + "\n");
    return;
  }
  std::string text;
  for (const Measured& m : measured) {
    if (arguments.layers) text += m.model + "\n" + step_table(m, peak) + "\n";
  }
  print_result(text + summary(measured, arguments, peak));
}

}  // namespace

Command add_bench(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("bench", "Measure how fast a model runs on this machine");
  command->add_option("MODEL", arguments->model, "ONNX file")->type_name("FILE")->required();
  command->add_option("--against", arguments->against, "Another model, for the ratio")
      ->type_name("FILE");
  arguments->bind.add_to(*command);
  command->add_option("--batch", arguments->batch, "Samples a run, where the batch is free")
      ->type_name("N")
      ->capture_default_str();
  command->add_option("--seconds", arguments->seconds, "Time to measure for")
      ->type_name("S")
      ->capture_default_str();
  arguments->threads.add_to(*command);
  command->add_flag("--layers", arguments->layers, "Show the time of each step");
  command->add_flag("--json", arguments->json, "Print JSON");
  command->footer(
      "Times are medians on pare's own engine; the peak is that of a large matrix product.\n"
      "Examples:\n"
      "  pare bench small.onnx --against original.onnx\n"
      "  pare bench resnet50.onnx --batch 8 --layers");
  return {command, [arguments](Console& console) { bench(*arguments, console); }};
}

}  // namespace pare
