#include "passes/pass_manager.h"

#include <chrono>
#include <filesystem>

#include "passes/output_watch.h"
#include "support/file.h"

namespace pare {
namespace {

using Clock = std::chrono::steady_clock;

void write_text(const std::filesystem::path& path, const std::string& text) {
  write_file(path.string(), [&](const auto& append) { append(std::as_bytes(std::span(text))); });
}

/// Runs one pass and everything around it; `cost` is the graph's before and after.
PassRecord run_pass(Pass& pass, Graph& graph, PassContext& context, OutputWatch& watch, Cost& cost,
                    double tolerance) {
  PassRecord record{.pass = std::string(pass.name()), .before = cost};
  const uint64_t revision = graph.revision();
  const Clock::time_point start = Clock::now();
  record.stats = pass.run(graph, context);
  record.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  record.changed = graph.revision() != revision;
  if (record.changed) {
    graph.infer_types();
    verify(graph);
    cost = estimate_cost(graph, context.cost);
    record.numerics = watch.update(graph, context);
    const std::string broken =
        pass.effect() == Effect::kExact ? watch.broken_promise(graph, tolerance) : "";
    if (!broken.empty())
      throw Error(ErrorKind::kInternal, broken + ", but the pass is declared exact");
  }
  record.after = cost;
  return record;
}

/// Bad settings and Ctrl-C say nothing about the pass.
bool deserves_reproducer(ErrorKind kind) {
  return kind != ErrorKind::kUsage && kind != ErrorKind::kInterrupted;
}

}  // namespace

void PassManager::add(std::unique_ptr<Pass> pass, std::string pipeline) {
  steps_.push_back({std::move(pass), std::move(pipeline)});
}

void PassManager::check_data(const Graph& graph, const PassContext& context) const {
  for (const Step& step : steps_) {
    if (step.pass->needs_data() && !context.data)
      throw Error(ErrorKind::kUsage,
                  "pass '" + std::string(step.pass->name()) +
                      "' needs samples to calibrate on, but no data is given: --data "
                      "takes a folder or archive of images, .npy, .npz or .pb");
  }
  if (context.data) context.data->check(graph);
}

Error PassManager::with_reproducer(const Error& error, const Graph& before,
                                   const Step& step) const {
  if (!options_.write_model || options_.reproducer_dir.empty() ||
      !deserves_reproducer(error.kind()))
    return error;
  try {
    const std::filesystem::path dir = options_.reproducer_dir;
    std::filesystem::create_directories(dir);
    options_.write_model(before, dir.string());
    if (!step.pipeline.empty()) write_text(dir / "pipeline.yaml", step.pipeline);
    write_text(dir / "message.txt", std::string(error.what()) + "\n");
    return Error(error.kind(),
                 std::string(error.what()) + " (a reproducer is in " + dir.string() + ")");
  } catch (const std::exception& failure) {
    return Error(error.kind(), std::string(error.what()) +
                                   " (no reproducer could be written: " + failure.what() + ")");
  }
}

PassRun PassManager::run(Graph& graph, PassContext& context) const {
  check_data(graph, context);
  PassRun done{.passes = {}, .lineage = Lineage(graph)};
  Cost cost = estimate_cost(graph, context.cost);
  OutputWatch watch(graph, context, options_.compare_samples);
  for (const Step& step : steps_) {
    const Graph before = graph;  // Shares the weights.
    try {
      done.passes.push_back(with_context(
          [&] { return "pass '" + std::string(step.pass->name()) + "'"; },
          [&] { return run_pass(*step.pass, graph, context, watch, cost, options_.tolerance); }));
    } catch (const Error& error) {
      graph = before;
      throw with_reproducer(error, before, step);
    } catch (...) {
      graph = before;
      throw;
    }
    const PassRecord& record = done.passes.back();
    if (record.changed) done.lineage.follow(before, graph, record.pass);
    if (options_.on_record) options_.on_record(record);
  }
  return done;
}

}  // namespace pare
