#include "images/archive.h"

#include <archive.h>
#include <archive_entry.h>

#include <algorithm>
#include <array>

#include "support/error.h"
#include "support/file.h"

namespace pare {
namespace {

using Handle = std::unique_ptr<::archive, decltype(&archive_read_free)>;
using Bytes = std::vector<std::byte>;

constexpr std::array<std::string_view, 8> kEndings = {".tar",    ".tar.gz",  ".tgz",  ".tar.bz2",
                                                      ".tar.xz", ".tar.zst", ".tzst", ".zip"};

/// Reads one archive from a mapped file.
class Reader {
 public:
  Reader(const std::string& path, std::shared_ptr<const MappedFile> file)
      : path_(path), file_(std::move(file)), handle_(archive_read_new(), &archive_read_free) {
    PARE_CHECK(handle_, "archive_read_new");
    // The formats one by one: "all" would start programs for some.
    for (const auto& add : {archive_read_support_filter_gzip, archive_read_support_filter_bzip2,
                            archive_read_support_filter_xz, archive_read_support_filter_zstd,
                            archive_read_support_format_tar, archive_read_support_format_zip})
      add(handle_.get());
    const std::span<const std::byte> bytes = file_->bytes();
    if (archive_read_open_memory(handle_.get(), bytes.data(), bytes.size()) != ARCHIVE_OK)
      fail("cannot be opened as an archive");
  }

  std::vector<ArchiveMember> members(const std::function<bool(std::string_view)>& wanted) {
    std::vector<ArchiveMember> members;
    archive_entry* entry = nullptr;
    for (;;) {
      const int code = archive_read_next_header(handle_.get(), &entry);
      if (code == ARCHIVE_EOF) return members;
      if (code < ARCHIVE_WARN) fail("is a damaged archive");
      const char* name = archive_entry_pathname(entry);
      if (!name || archive_entry_filetype(entry) != AE_IFREG || !wanted(name)) continue;
      members.push_back(content(name));
    }
  }

 private:
  [[noreturn]] void fail(const std::string& fact) const {
    const char* reason = archive_error_string(handle_.get());
    throw Error(ErrorKind::kInput,
                path_ + ": " + fact + (reason ? std::string(": ") + reason : ""));
  }

  /// Where the whole file comes as one block of the mapping, as in a plain tar, nothing is copied.
  ArchiveMember content(const std::string& name) {
    ArchiveMember member{.name = name, .bytes = {}, .owner = file_};
    auto unpacked = std::make_shared<Bytes>();
    for (;;) {
      const void* data = nullptr;
      size_t size = 0;
      la_int64_t offset = 0;
      const int code = archive_read_data_block(handle_.get(), &data, &size, &offset);
      if (code == ARCHIVE_EOF) break;
      if (code < ARCHIVE_WARN) fail("'" + name + "' does not unpack");
      const std::span block(static_cast<const std::byte*>(data), size);
      if (member.bytes.empty() && unpacked->empty() && is_mapped(block)) {
        member.bytes = block;
        continue;
      }
      append(*unpacked, member.bytes, name);
      member.bytes = {};
      append(*unpacked, block, name);
    }
    if (!unpacked->empty()) {
      total_ += unpacked->size();
      if (total_ > kMaxUnpacked)
        throw Error(ErrorKind::kInput, path_ + ": unpacks to more than " +
                                           std::to_string(kMaxUnpacked >> 20) +
                                           " MiB, expected less, a plain .tar or a folder");
      member.bytes = *unpacked;
      member.owner = std::move(unpacked);
    }
    return member;
  }

  bool is_mapped(std::span<const std::byte> block) const {
    const std::span<const std::byte> file = file_->bytes();
    const std::less_equal<> before;
    return before(file.data(), block.data()) &&
           before(block.data() + block.size(), file.data() + file.size());
  }

  void append(Bytes& bytes, std::span<const std::byte> block, const std::string& name) const {
    if (block.size() > kMaxMember - std::min(bytes.size(), kMaxMember))
      throw Error(ErrorKind::kInput, path_ + ": '" + name + "' unpacks to more than " +
                                         std::to_string(kMaxMember >> 20) + " MiB");
    bytes.insert(bytes.end(), block.begin(), block.end());
  }

  std::string path_;
  std::shared_ptr<const MappedFile> file_;
  Handle handle_;
  size_t total_ = 0;
};

}  // namespace

bool has_archive_name(std::string_view name) {
  return std::ranges::any_of(kEndings,
                             [&](std::string_view ending) { return name.ends_with(ending); });
}

std::vector<ArchiveMember> read_archive(const std::string& path,
                                        const std::function<bool(std::string_view)>& wanted) {
  return Reader(path, MappedFile::open(path)).members(wanted);
}

}  // namespace pare
