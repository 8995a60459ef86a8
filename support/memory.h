#pragma once

#include <cstddef>
#include <memory>

namespace pare {

/// Memory straight from the system, where it goes back as soon as it is freed: zeroed, aligned for
/// huge pages, for blocks of megabytes. Throws std::bad_alloc.
std::shared_ptr<std::byte> map_memory(size_t bytes);

/// Gives the system what the heap holds and nobody uses. Worth it where much was freed at once that
/// lay between what stays; takes milliseconds.
void return_free_memory();

}  // namespace pare
