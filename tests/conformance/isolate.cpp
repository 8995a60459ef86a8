#include "conformance/isolate.h"

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstring>

namespace pare::conformance {
namespace {

/// What the child wrote: the status as one character, then the reason.
Outcome parse(const std::string& text) {
  return {static_cast<Status>(text[0] - '0'), text.substr(1)};
}

[[noreturn]] void run_child(const std::function<Outcome()>& body, int out, unsigned seconds) {
  alarm(seconds);
  const Outcome outcome = body();
  const std::string text = std::to_string(static_cast<int>(outcome.status)) + outcome.reason;
  const ssize_t written = write(out, text.data(), text.size());
  _exit(written == static_cast<ssize_t>(text.size()) ? 0 : 1);
}

std::string read_all(int in) {
  std::string text;
  std::array<char, 4096> part;
  for (ssize_t got; (got = read(in, part.data(), part.size())) > 0;)
    text.append(part.data(), static_cast<size_t>(got));
  return text;
}

}  // namespace

Outcome isolated(const std::function<Outcome()>& body, unsigned seconds) {
  std::array<int, 2> ends;
  if (pipe(ends.data()) != 0) return {Status::kFail, "no pipe for the child process"};
  const pid_t child = fork();
  if (child < 0) return {Status::kFail, "no child process"};
  if (child == 0) {
    close(ends[0]);
    run_child(body, ends[1], seconds);
  }
  close(ends[1]);
  const std::string text = read_all(ends[0]);
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFSIGNALED(status))
    return {Status::kFail, WTERMSIG(status) == SIGALRM
                               ? "ran for more than " + std::to_string(seconds) + " s"
                               : std::string("crashed: ") + strsignal(WTERMSIG(status))};
  if (text.empty()) return {Status::kFail, "the child process gave no result"};
  return parse(text);
}

}  // namespace pare::conformance
