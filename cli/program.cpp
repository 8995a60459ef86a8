#include <algorithm>
#include <array>
#include <cstdio>
#include <memory>
#include <new>

#include "cli/command.h"
#include "config/suggest.h"
#include "support/text_table.h"

namespace pare {
namespace {

constexpr int kGateExit = 1;
constexpr int kUsageExit = 2;
constexpr int kBugExit = 70;

int exit_code(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kUsage:
      return kUsageExit;
    case ErrorKind::kInput:
      return 3;
    case ErrorKind::kUnsupported:
      return 4;
    case ErrorKind::kInterrupted:
      return 130;
    case ErrorKind::kInternal:
      return kBugExit;
  }
  return kBugExit;
}

struct Verbose {
  bool quiet = false, verbose = false;
};

void add_globals(CLI::App& app, Verbose& flags) {
  app.set_version_flag("--version", "pare " PARE_VERSION "\n" PARE_BUILD);
  app.add_flag("-v,--verbose", flags.verbose, "Say more on stderr");
  app.add_flag("-q,--quiet", flags.quiet, "Only results and errors, no progress");
  app.require_subcommand(1);
  app.fallthrough();
  app.footer(
      "Exit codes: 0 done, 1 a gate of compare failed, 2 usage, 3 bad input, 4 unsupported, 70 a "
      "bug in pare, 130 stopped.\n"
      "'pare COMMAND --help' shows the options of a command with an example.");
}

/// "unknown command ...", when the first word that is no option names none.
std::string unknown_command(const CLI::App& app, int argc, const char* const* argv) {
  std::vector<std::string> known;
  for (const CLI::App* command : app.get_subcommands({})) known.push_back(command->get_name());
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word.starts_with('-')) continue;
    if (std::ranges::find(known, word) != known.end()) return {};
    const std::string hint = suggestion(word, known);
    return "unknown command '" + word + "'" +
           (hint.empty() ? ", expected one of " + joined(known) : hint);
  }
  return {};
}

/// "unknown option ...", when one that `command` has is spelled nearly so.
std::string unknown_option(const CLI::App& app, const CLI::App& command) {
  std::vector<std::string> known;
  const auto add = [&](const CLI::App& owner) {
    for (const CLI::Option* option : owner.get_options())
      for (const std::string& name : option->get_lnames()) known.push_back("--" + name);
  };
  add(app), add(command);
  for (const CLI::App* inner : command.get_subcommands({})) add(*inner);
  for (const std::string& word : app.remaining(true)) {
    if (!word.starts_with("--")) continue;
    const std::string name = word.substr(0, word.find('='));
    const std::string hint = suggestion(name, known);
    return hint.empty() ? "" : "unknown option '" + name + "'" + hint;
  }
  return {};
}

/// The library's message as one sentence that says where help is.
std::string usage_sentence(const CLI::App& app, const CLI::ParseError& error, int argc,
                           const char* const* argv) {
  const std::string unknown = unknown_command(app, argc, argv);
  std::string text = unknown.empty() ? error.what() : unknown;
  while (!text.empty() && (text.back() == '\n' || text.back() == '.')) text.pop_back();
  std::ranges::replace(text, '\n', ' ');
  if (text.ends_with('?')) return text;
  const std::vector<const CLI::App*> chosen = app.get_subcommands({});
  const auto parsed =
      std::ranges::find_if(chosen, [](const CLI::App* command) { return command->parsed(); });
  if (parsed == chosen.end()) return text + ", see 'pare --help'";
  const std::string command = (*parsed)->get_name();
  const std::string misspelt = unknown_option(app, **parsed);
  return command + ": " +
         (misspelt.empty() ? text + ", see 'pare " + command + " --help'" : misspelt);
}

/// Runs `body` and turns what leaves it into one sentence and an exit code.
template <typename Body>
int guarded(Console& console, Body&& body) {
  try {
    body();
    return 0;
  } catch (const Error& error) {
    const char* bug = error.kind() == ErrorKind::kInternal ? " (this is a bug in pare)" : "";
    console.error(error.what() + std::string(bug));
    return exit_code(error.kind());
  } catch (const GateFailed& failed) {
    console.error(failed.sentence);
    return kGateExit;
  } catch (const std::bad_alloc&) {
    console.error("not enough memory for this model and these options");
  } catch (const std::exception& error) {
    console.error(std::string("unexpected failure: ") + error.what() + " (this is a bug in pare)");
  }
  return kBugExit;
}

}  // namespace

int run_program(int argc, const char* const* argv) {
  Console console;
  CLI::App app{"pare: trained ONNX networks that cost a fraction of the energy", "pare"};
  Verbose flags;
  add_globals(app, flags);
  const std::array commands = {add_optimize(app),    add_inspect(app),     add_explain(app),
                               add_sensitivity(app), add_evaluate(app),    add_diagnose(app),
                               add_verify(app),      add_compare(app),     add_bench(app),
                               add_run(app),         add_passes(app),      add_pipeline(app),
                               add_ops(app),         add_completions(app), add_man(app)};
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& done) {  // --help, --version
    return app.exit(done);
  } catch (const CLI::ParseError& error) {
    console.error(usage_sentence(app, error, argc, argv));
    return kUsageExit;
  }
  console.set_verbosity(flags.quiet     ? Verbosity::kQuiet
                        : flags.verbose ? Verbosity::kVerbose
                                        : Verbosity::kNormal);
  catch_interrupts();
  return guarded(console, [&] {
    for (const Command& command : commands)
      if (command.app->parsed()) command.run(console);
  });
}

}  // namespace pare
