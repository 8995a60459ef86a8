// Runs a folder of ONNX backend node tests: one PASS, FAIL or SKIP line each, then the totals.
//
//   node_tests [options] ROOT
//
// ROOT holds one folder a test, as Debian's libonnx-testdata (data/node) or make_node_tests.py
// write it. Exit code 0 when nothing failed, 1 when a test failed, 2 for wrong usage, 77 when ROOT
// is not there (CTest counts that as skipped).

#include <fnmatch.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <string>
#include <vector>

#include "conformance/isolate.h"
#include "conformance/node_case.h"

namespace {

namespace fs = std::filesystem;
using pare::conformance::Outcome;
using pare::conformance::Status;

constexpr unsigned kSecondsPerTest = 60;

struct Options {
  std::string root;
  std::string filter = "*";
  std::string op;
  std::string results;
  bool list_skips = false;
  bool quiet = false;
  pare::conformance::Tolerance tolerance;
};

std::vector<fs::path> find_cases(const Options& options) {
  std::vector<fs::path> cases;
  for (const fs::directory_entry& entry : fs::directory_iterator(options.root)) {
    const std::string name = entry.path().filename().string();
    if (fs::exists(entry.path() / "model.onnx") &&
        fnmatch(options.filter.c_str(), name.c_str(), 0) == 0)
      cases.push_back(entry.path());
  }
  std::ranges::sort(cases);
  return cases;
}

const char* label(Status status) {
  switch (status) {
    case Status::kPass:
      return "PASS";
    case Status::kFail:
      return "FAIL";
    case Status::kSkip:
      return "SKIP";
  }
  return "";
}

/// One line, for a result is one line of a table.
std::string one_line(std::string text) {
  std::ranges::replace_if(
      text, [](char c) { return c == '\n' || c == '\t' || c == '\r'; }, ' ');
  return text;
}

int run(const Options& options) {
  if (!fs::is_directory(options.root)) {
    std::cout << "SKIP: there is no folder " << options.root << "\n";
    return 77;
  }
  std::ofstream results;
  if (!options.results.empty()) results.open(options.results);
  std::map<Status, int> count;
  std::map<std::string, int> skips;
  for (const fs::path& folder : find_cases(options)) {
    const Outcome outcome = pare::conformance::isolated(
        [&] { return pare::conformance::run_case(folder, options.op, options.tolerance); },
        kSecondsPerTest);
    if (outcome.status == Status::kSkip && outcome.reason == "filtered") continue;
    const std::string name = folder.filename().string();
    const std::string reason = one_line(outcome.reason);
    ++count[outcome.status];
    if (outcome.status == Status::kSkip) ++skips[reason];
    if (results.is_open())
      results << label(outcome.status) << '\t' << name << '\t' << reason << '\n';
    if (options.quiet && outcome.status != Status::kFail) continue;
    std::cout << label(outcome.status) << ' ' << name << (reason.empty() ? "" : ": ") << reason
              << std::endl;
  }
  if (options.list_skips) {
    std::cout << "\nSkipped, by reason:\n";
    for (const auto& [reason, times] : skips) std::cout << times << '\t' << reason << '\n';
  }
  std::cout << count[Status::kPass] << " passed, " << count[Status::kFail] << " failed, "
            << count[Status::kSkip] << " skipped\n";
  if (results.is_open() && !results.flush()) {
    std::cerr << "cannot write " << options.results << "\n";
    return 1;
  }
  return count[Status::kFail] == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("Runs a folder of ONNX backend node tests.");
  app.add_option("root", options.root, "Folder with one folder a test")->required();
  app.add_option("--filter", options.filter, "Only tests whose name matches, e.g. 'test_conv_*'");
  app.add_option("--op", options.op, "Only tests with a node of this op, e.g. Conv");
  app.add_option("--results", options.results, "Writes status, name and reason, tab-separated");
  app.add_option("--rtol", options.tolerance.relative, "Relative tolerance for floats");
  app.add_option("--atol", options.tolerance.absolute, "Absolute tolerance for floats");
  app.add_flag("--list-skips", options.list_skips, "Counts the skipped tests by reason");
  app.add_flag("-q,--quiet", options.quiet, "Prints failures and totals only");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  try {
    return run(options);
  } catch (const std::exception& error) {
    std::cerr << "node_tests: " << error.what() << "\n";
    return 1;
  }
}
