#include "cli/console.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>

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

void on_interrupt(int) {
  interrupted.store(true, std::memory_order_relaxed);
  std::signal(SIGINT, SIG_DFL);
}

}  // namespace

void catch_interrupts() { std::signal(SIGINT, on_interrupt); }

void print_result(std::string_view text) {
  const bool written =
      std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
  if (!written) throw Error(ErrorKind::kUsage, "standard output cannot be written");
}

Console::Console() : terminal_(isatty(STDERR_FILENO) != 0) {
  auto logger =
      std::make_shared<spdlog::logger>("pare", std::make_shared<spdlog::sinks::stderr_sink_st>());
  logger->set_pattern("%n: %l: %v");
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
  std::string line =
      "pare: " + printable(stage) + " " + std::to_string(done) + "/" + std::to_string(total);
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
