#pragma once

#include <cstddef>
#include <memory>

namespace pare {

/// Memory straight from the system, where it goes back as soon as it is freed: zeroed, aligned for
/// huge pages, for blocks of megabytes. Throws std::bad_alloc.
std::shared_ptr<std::byte> map_memory(size_t bytes);

}  // namespace pare
