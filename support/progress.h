#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string_view>

#include "support/error.h"

namespace pare {

/// How a library reports long work and hears that it should stop; it never prints by itself.
///
/// `report(stage, done, total)` may be called from the thread that started the work only.
/// `cancelled` is set from outside (a signal handler) and polled through check().
struct Progress {
  std::function<void(std::string_view stage, int64_t done, int64_t total)> report;
  const std::atomic<bool>* cancelled = nullptr;

  void step(std::string_view stage, int64_t done, int64_t total) const {
    check();
    if (report) report(stage, done, total);
  }

  /// Throws Error(kInterrupted) once the user has asked to stop.
  void check() const {
    if (cancelled && cancelled->load(std::memory_order_relaxed))
      throw Error(ErrorKind::kInterrupted, "stopped by the user");
  }
};

}  // namespace pare
