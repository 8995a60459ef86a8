#include "cli/console.h"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "support/text_table.h"

namespace pare {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::duration;

constexpr auto kTerminalInterval = std::chrono::milliseconds(100);
constexpr auto kPipedInterval = std::chrono::seconds(15);
constexpr double kEtaAfterSeconds = 1;

// The one mutable static of the program: a signal handler can reach nothing else.
std::atomic<bool> interrupted{false};
static_assert(std::atomic<bool>::is_always_lock_free);

/// $NO_COLOR is set to anything (https://no-color.org), or the terminal knows no colours.
bool wants_colour() {
  const char *no = std::getenv("NO_COLOR"), *terminal = std::getenv("TERM");
  const std::string_view kind = terminal ? terminal : "dumb";
  return !(no && *no) && kind != "dumb";
}

/// "[######..............]".
std::string bar(int64_t done, int64_t total) {
  constexpr int64_t kWidth = 20;
  const int64_t full = total > 0 ? std::clamp<int64_t>(done * kWidth / total, 0, kWidth) : 0;
  return "[" + std::string(static_cast<size_t>(full), '#') +
         std::string(static_cast<size_t>(kWidth - full), '.') + "]";
}

void on_interrupt(int) {
  interrupted.store(true, std::memory_order_relaxed);
  std::signal(SIGINT, SIG_DFL);
}

}  // namespace

void catch_interrupts() { std::signal(SIGINT, on_interrupt); }

size_t result_width() {
  if (const char* columns = std::getenv("COLUMNS"))
    if (const int wide = std::atoi(columns); wide > 0) return static_cast<size_t>(wide);
  winsize size{};
  const bool terminal = isatty(STDOUT_FILENO) != 0 && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0;
  return terminal ? size.ws_col : 0;
}

void print_result(std::string_view text) {
  const bool written =
      std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
  if (!written) throw Error(ErrorKind::kUsage, "standard output cannot be written");
}

Console::Console() : terminal_(isatty(STDERR_FILENO) != 0) {
  const auto mode =
      terminal_ && wants_colour() ? spdlog::color_mode::always : spdlog::color_mode::never;
  auto logger = std::make_shared<spdlog::logger>(
      "pare", std::make_shared<spdlog::sinks::stderr_color_sink_st>(mode));
  logger->set_pattern("%n: %^%l%$: %v");
  spdlog::set_default_logger(std::move(logger));
  set_verbosity(Verbosity::kNormal);
}

Console::~Console() { clear(); }

void Console::set_verbosity(Verbosity verbosity) {
  verbosity_ = verbosity;
  spdlog::set_level(verbosity == Verbosity::kQuiet    ? spdlog::level::err
                    : verbosity == Verbosity::kNormal ? spdlog::level::warn
                                                      : spdlog::level::info);
}

void Console::info(const std::string& sentence) {
  clear();
  spdlog::info("{}", printable(sentence));
}

void Console::warning(const std::string& sentence) {
  clear();
  spdlog::warn("{}", printable(sentence));
}

void Console::error(const std::string& sentence) {
  clear();
  spdlog::error("{}", printable(sentence));
}

Progress Console::progress() {
  Progress progress{.cancelled = &interrupted};
  if (verbosity_ != Verbosity::kQuiet)
    progress.report = [this](std::string_view stage, int64_t done, int64_t total) {
      show(stage, done, total);
    };
  return progress;
}

void Console::show(std::string_view stage, int64_t done, int64_t total) {
  const auto now = Clock::now();
  if (stage != stage_) {
    stage_ = stage;
    begun_ = now;
    if (!terminal_) shown_ = now;  // A short stage prints nothing into a pipe.
  }
  if (terminal_ && done >= total) return clear();
  if (now - shown_ <
      (terminal_ ? Clock::duration(kTerminalInterval) : Clock::duration(kPipedInterval)))
    return;
  shown_ = now;
  std::string line = "pare: " + printable(stage) + " " +
                     (terminal_ ? bar(done, total) + " " : std::string()) + std::to_string(done) +
                     "/" + std::to_string(total);
  const double elapsed = duration<double>(now - begun_).count();
  if (done > 0 && elapsed >= kEtaAfterSeconds)
    line += ", " +
            human_seconds(elapsed * static_cast<double>(total - done) / static_cast<double>(done)) +
            " left";
  std::fprintf(stderr, terminal_ ? "\r\033[K%s" : "%s\n", line.c_str());
  std::fflush(stderr);
  line_shown_ = terminal_;
}

void Console::clear() {
  if (!line_shown_) return;
  std::fputs("\r\033[K", stderr);
  std::fflush(stderr);
  line_shown_ = false;
}

}  // namespace pare
