// Any bytes given as a model file are a model or an Error that is the user's, never a crash; and a
// model that is read can be written and read again.

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <string>

#include "exporters/onnx/export.h"
#include "importers/onnx/import.h"
#include "ops/ops.h"

namespace {

/// A file in memory with a path.
class MemoryFile {
 public:
  MemoryFile(const uint8_t* data, size_t size) : fd_(::memfd_create("model", MFD_CLOEXEC)) {
    if (fd_ < 0 || ::write(fd_, data, size) != static_cast<ssize_t>(size)) std::abort();
  }
  ~MemoryFile() { ::close(fd_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  std::string path() const { return "/proc/self/fd/" + std::to_string(fd_); }

 private:
  int fd_;
};

/// One file for each process, overwritten again and again.
std::string output_path() {
  return (std::filesystem::temp_directory_path() / ("pare-fuzz-" + std::to_string(::getpid())))
      .string();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const MemoryFile file(data, size);
  bool read = false;
  try {
    const pare::Graph graph = pare::import_onnx(file.path(), pare::onnx_ops());
    read = true;
    verify(graph);
    pare::export_onnx(graph, output_path());
    verify(pare::import_onnx(output_path(), pare::onnx_ops()));
  } catch (const pare::Error& error) {
    if (read || error.kind() == pare::ErrorKind::kInternal) {
      std::cerr << error.what() << "\n";
      std::abort();
    }
  }
  return 0;
}
