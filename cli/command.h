#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <vector>

#include "cli/console.h"

namespace pare {

/// A subcommand and what it does once the command line is parsed.
struct Command {
  CLI::App* app;
  std::function<void(Console&)> run;
};

// One a file; each adds its subcommand with options, help and an example.
Command add_bench(CLI::App& app);
Command add_compare(CLI::App& app);
Command add_completions(CLI::App& app);
Command add_diagnose(CLI::App& app);
Command add_evaluate(CLI::App& app);
Command add_explain(CLI::App& app);
Command add_inspect(CLI::App& app);
Command add_man(CLI::App& app);
Command add_ops(CLI::App& app);
Command add_optimize(CLI::App& app);
Command add_passes(CLI::App& app);
Command add_pipeline(CLI::App& app);
Command add_run(CLI::App& app);
Command add_sensitivity(CLI::App& app);
Command add_verify(CLI::App& app);

/// Thrown by a command whose gate failed (`compare --fail-if`): exit code 1.
struct GateFailed {
  std::string sentence;
};

/// The program: parses, runs, prints one sentence for an error. Returns the exit code: 0 done, 1 a
/// gate failed, 2 usage, 3 bad input, 4 unsupported, 70 a bug, 130 stopped by Ctrl-C.
int run_program(int argc, const char* const* argv);

}  // namespace pare
