#pragma once

#include <cstdint>
#include <functional>

namespace pare {

/// Runs `body(i)` for every i in [0, count) on up to `threads` threads, the caller's among them.
///
/// Work is handed out one index at a time, so which thread runs an index varies; a result must
/// therefore depend on the index only (write to slot i, merge in order afterwards). That is how
/// every parallel computation here stays bit-identical at any thread count. The first exception by
/// index is rethrown after all threads have stopped.
void parallel_for(int64_t count, int threads, const std::function<void(int64_t)>& body);

}  // namespace pare
