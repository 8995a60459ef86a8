#pragma once

#include <stdexcept>
#include <string>
#include <utility>

namespace pare {

/// Whose problem a failure is; the CLI maps it to the exit code.
enum class ErrorKind {
  kUsage,        ///< Bad flag or config value.            exit 2
  kInput,        ///< The model or data file is invalid.   exit 3
  kUnsupported,  ///< Valid ONNX this tool cannot handle.  exit 4
  kInterrupted,  ///< The user stopped the run (Ctrl-C).   exit 130
  kInternal,     ///< A bug in this tool.                  exit 70
};

/// The one exception type thrown by this project.
///
/// Throw it for a dead end: something the caller cannot work around. An
/// expected outcome (a pattern that does not match, a group that must not be
/// pruned) is a return value instead. The message is one sentence that says
/// place, fact and expectation; callers add the place with with_context().
class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}

  ErrorKind kind() const { return kind_; }

  /// Returns this error with `context` put in front, outermost context first.
  Error in(const std::string& context) const { return Error(kind_, context + ": " + what()); }

 private:
  ErrorKind kind_;
};

/// Runs `body`; an Error leaving it gains `context()`, e.g. "node 'conv3' (Conv)". The context is
/// a callable so that nothing is formatted on the way where nothing fails.
template <typename Context, typename Body>
decltype(auto) with_context(Context&& context, Body&& body) {
  try {
    return std::forward<Body>(body)();
  } catch (const Error& error) {
    throw error.in(context());
  }
}

}  // namespace pare

/// Checks an invariant of this program, never a property of user input.
#define PARE_CHECK(condition, message)                                 \
  do {                                                                 \
    if (!(condition)) {                                                \
      throw ::pare::Error(::pare::ErrorKind::kInternal,                \
                          std::string(message) + " [" #condition "]"); \
    }                                                                  \
  } while (false)
