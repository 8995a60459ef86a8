#include "support/memory.h"

#include <malloc.h>
#include <sys/mman.h>

#include <cstdint>
#include <new>

namespace pare {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;

}  // namespace

std::shared_ptr<std::byte> map_memory(size_t bytes) {
  const size_t size = bytes + kHugePage;
  void* address = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (address == MAP_FAILED) throw std::bad_alloc();
  const size_t misplaced = reinterpret_cast<uintptr_t>(address) % kHugePage;
  std::byte* data = static_cast<std::byte*>(address) + (kHugePage - misplaced);
  ::madvise(data, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);  // Only for speed.
  return {data, [address, size](std::byte*) { ::munmap(address, size); }};
}

void return_free_memory() {
#ifdef __GLIBC__
  ::malloc_trim(0);
#endif
}

}  // namespace pare
