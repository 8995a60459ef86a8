#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "support/error.h"

namespace pare {

/// A file mapped read-only; the bytes live as long as the object.
class MappedFile {
  struct Key {};  ///< Only open() makes objects.

 public:
  /// Throws Error(kInput) naming the file when it cannot be opened, is no regular file, or cannot
  /// be mapped. An empty file gives no bytes.
  static std::shared_ptr<const MappedFile> open(const std::string& path);
  MappedFile(Key, std::span<const std::byte> bytes) : bytes_(bytes) {}
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return bytes_; }
  /// Gives up the memory that `part` of bytes() takes; what is looked at again is read again.
  void release(std::span<const std::byte> part) const;

 private:
  std::span<const std::byte> bytes_;
};

/// Writes a file whole or not at all: beside the target, synced, then renamed over it.
///
/// `body` is called with a function that appends bytes. Throws Error(kUsage) naming the path when
/// it cannot be written; nothing is left behind then, nor when `body` throws.
void write_file(
    const std::string& path,
    const std::function<void(const std::function<void(std::span<const std::byte>)>& append)>& body);

}  // namespace pare
