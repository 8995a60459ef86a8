#include "support/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace pare {
namespace {

std::string reason() { return std::strerror(errno); }

/// Owns a file descriptor.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

/// Removes a file on the way out unless told to keep it.
class Scratch {
 public:
  explicit Scratch(std::string path) : path_(std::move(path)) {}
  ~Scratch() {
    if (!kept_) ::unlink(path_.c_str());
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  void keep() { kept_ = true; }

 private:
  std::string path_;
  bool kept_ = false;
};

[[noreturn]] void fail_to_write(const std::string& path) {
  throw Error(ErrorKind::kUsage, path + ": cannot be written: " + reason());
}

/// A rename would put a file in the place of a device or pipe.
void refuse_special(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode))
    throw Error(ErrorKind::kUsage, path + ": cannot be written: is no regular file");
}

/// Makes a rename last. A folder one may write but not read cannot be synced; its files are.
void sync_folder(const std::string& path) {
  const size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const Descriptor descriptor(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (descriptor.get() >= 0) ::fsync(descriptor.get());
}

}  // namespace

std::shared_ptr<const MappedFile> MappedFile::open(const std::string& path) {
  // O_NONBLOCK: opening a pipe must be refused below, not wait for a writer.
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) throw Error(ErrorKind::kInput, path + ": cannot be opened: " + reason());
  struct stat info {};
  if (::fstat(file.get(), &info) != 0)
    throw Error(ErrorKind::kInput, path + ": cannot be read: " + reason());
  if (!S_ISREG(info.st_mode))
    throw Error(ErrorKind::kInput, path + ": is no regular file, expected one");
  const auto size = static_cast<size_t>(info.st_size);
  std::span<const std::byte> bytes;
  if (size > 0) {
    void* address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
    if (address == MAP_FAILED)
      throw Error(ErrorKind::kInput, path + ": cannot be mapped: " + reason());
    bytes = {static_cast<const std::byte*>(address), size};
  }
  return std::make_shared<MappedFile>(Key{}, bytes);
}

MappedFile::~MappedFile() {
  if (!bytes_.empty())
    ::munmap(const_cast<void*>(static_cast<const void*>(bytes_.data())), bytes_.size());
}

void MappedFile::release(std::span<const std::byte> part) const {
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = static_cast<size_t>(part.data() - bytes_.data());  // The file begins a page.
  const size_t first = (begin + page - 1) / page * page;
  const size_t last = (begin + part.size()) / page * page;
  if (first >= last) return;
  ::madvise(const_cast<void*>(static_cast<const void*>(bytes_.data() + first)), last - first,
            MADV_DONTNEED);
}

void write_file(
    const std::string& path,
    const std::function<void(const std::function<void(std::span<const std::byte>)>& append)>&
        body) {
  refuse_special(path);
  const std::string scratch_path = path + ".tmp" + std::to_string(::getpid());
  const Descriptor file(
      ::open(scratch_path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  if (file.get() < 0) fail_to_write(path);
  Scratch scratch(scratch_path);
  body([&](std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const ssize_t written = ::write(file.get(), bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) fail_to_write(path);
      bytes = bytes.subspan(static_cast<size_t>(written));
    }
  });
  if (::fsync(file.get()) != 0) fail_to_write(path);
  if (::rename(scratch_path.c_str(), path.c_str()) != 0) fail_to_write(path);
  scratch.keep();
  sync_folder(path);
}

}  // namespace pare
