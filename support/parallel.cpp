#include "support/parallel.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace pare {

void parallel_for(int64_t count, int threads, const std::function<void(int64_t)>& body) {
  std::atomic<int64_t> next{0};
  std::mutex mutex;
  int64_t failed_index = count;
  std::exception_ptr failure;

  auto work = [&] {
    for (int64_t i = next++; i < count; i = next++) {
      try {
        body(i);
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (i < failed_index) failed_index = i, failure = std::current_exception();
        next = count;
      }
    }
  };
  std::vector<std::jthread> helpers;
  const int64_t extra = std::min<int64_t>(std::max(threads, 1), count) - 1;
  for (int64_t t = 0; t < extra; ++t) helpers.emplace_back(work);
  work();
  helpers.clear();  // Joins.
  if (failure) std::rethrow_exception(failure);
}

}  // namespace pare
