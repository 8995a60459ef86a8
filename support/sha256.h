#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace pare {

/// SHA-256 of bytes given piece by piece. Source: FIPS 180-4.
class Sha256 {
 public:
  void add(std::span<const std::byte> bytes);
  /// The digest of everything added, as 64 hexadecimal digits; ends the object's use.
  std::string hex();

 private:
  static constexpr size_t kBlock = 64;
  void compress(const std::byte* block);

  std::array<uint32_t, 8> state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<std::byte, kBlock> pending_{};
  uint64_t length_ = 0;  ///< Bytes added.
};

/// The digest of one piece.
std::string sha256_hex(std::span<const std::byte> bytes);

/// That of a file, which is read piece by piece. Throws Error(kInput) where it cannot be read.
std::string sha256_of_file(const std::string& path);

}  // namespace pare
