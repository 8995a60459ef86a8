#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "support/progress.h"

namespace pare {

enum class Verbosity : uint8_t { kQuiet, kNormal, kVerbose };

/// What the program says besides results: log lines and progress on stderr.
///
/// On a terminal progress is one line with a bar that rewrites itself, and words are coloured
/// unless $NO_COLOR is set; piped it is a plain line now and then; with -q nothing. For one thread.
class Console {
 public:
  Console();
  ~Console();
  Console(const Console&) = delete;
  Console& operator=(const Console&) = delete;

  void set_verbosity(Verbosity verbosity);
  Verbosity verbosity() const { return verbosity_; }

  void info(const std::string& sentence);     ///< Shown with -v.
  void warning(const std::string& sentence);  ///< Hidden by -q.
  /// "pare: error: <sentence>", always shown.
  void error(const std::string& sentence);

  /// For the libraries; `this` must outlive it. Stops on Ctrl-C once catch_interrupts() ran.
  Progress progress();

 private:
  void show(std::string_view stage, int64_t done, int64_t total);
  void clear();

  Verbosity verbosity_ = Verbosity::kNormal;
  bool terminal_;
  bool line_shown_ = false;
  std::string stage_;
  std::chrono::steady_clock::time_point begun_, shown_;
};

/// The first Ctrl-C asks the work to stop at the next step; the second one kills.
void catch_interrupts();

/// Characters a line of stdout may have: the terminal's width, or $COLUMNS. 0, no limit, where it
/// is none.
size_t result_width();

/// Writes a result to stdout. Throws Error(kUsage) when it cannot be written (a full disk).
void print_result(std::string_view text);

}  // namespace pare
