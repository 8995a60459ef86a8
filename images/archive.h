#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace pare {

/// One file of an archive, still encoded.
struct ArchiveMember {
  std::string name;
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> owner;  ///< Keeps `bytes` alive.
};

/// True for a file name that read_archive() is meant for: .tar, .tar.gz, .tgz, .tar.bz2, .tar.xz,
/// .tar.zst, .zip.
bool has_archive_name(std::string_view name);

/// The regular files of a tar (plain, gzip, bzip2, xz or zstd) or zip archive that `wanted` accepts
/// by name. Members of a plain tar stay in the mapped file; others are unpacked into memory, at
/// most kMaxUnpacked bytes in all and kMaxMember bytes each. Throws Error(kInput) naming the file
/// beyond that (a decompression bomb grows a thousandfold) and where the archive is damaged.
std::vector<ArchiveMember> read_archive(const std::string& path,
                                        const std::function<bool(std::string_view)>& wanted);

constexpr size_t kMaxMember = size_t{256} << 20;
constexpr size_t kMaxUnpacked = size_t{2} << 30;

}  // namespace pare
