#include <zip.h>

#include <vector>

#include "calib/npy.h"

namespace pare {
namespace {

using Archive = std::unique_ptr<zip_t, decltype(&zip_discard)>;
using Entry = std::unique_ptr<zip_file_t, decltype(&zip_fclose)>;

constexpr size_t kChunk = size_t{1} << 20;

Archive open_archive(const std::string& path) {
  int code = 0;
  zip_t* archive = zip_open(path.c_str(), ZIP_RDONLY, &code);
  if (!archive) {
    zip_error_t error;
    zip_error_init_with_code(&error, code);
    const std::string reason = zip_error_strerror(&error);
    zip_error_fini(&error);
    throw Error(ErrorKind::kInput, path + ": cannot be opened as .npz: " + reason);
  }
  return {archive, zip_discard};
}

/// Grows with what is really there: the size an entry declares is not believed.
std::shared_ptr<const std::vector<std::byte>> read_entry(const std::string& name, zip_t* archive,
                                                         zip_uint64_t index) {
  const Entry entry(zip_fopen_index(archive, index, 0), zip_fclose);
  if (!entry) throw Error(ErrorKind::kInput, name + ": cannot be read: " + zip_strerror(archive));
  auto bytes = std::make_shared<std::vector<std::byte>>();
  for (;;) {
    const size_t size = bytes->size();
    bytes->resize(size + kChunk);
    const zip_int64_t got = zip_fread(entry.get(), bytes->data() + size, kChunk);
    if (got < 0) throw Error(ErrorKind::kInput, name + ": is damaged, it does not unpack");
    bytes->resize(size + static_cast<size_t>(got));
    if (got == 0) return bytes;
  }
}

}  // namespace

std::map<std::string, Tensor> read_npz(const std::string& path) {
  const Archive archive = open_archive(path);
  std::map<std::string, Tensor> arrays;
  const zip_int64_t count = zip_get_num_entries(archive.get(), 0);
  for (zip_int64_t i = 0; i < count; ++i) {
    const auto index = static_cast<zip_uint64_t>(i);
    const char* entry = zip_get_name(archive.get(), index, 0);
    std::string key = entry ? entry : "";
    if (!key.ends_with(".npy")) continue;
    const std::string name = path + ": " + key;
    key.resize(key.size() - 4);
    const auto bytes = read_entry(name, archive.get(), index);
    arrays.insert_or_assign(std::move(key), parse_npy(name, bytes, *bytes));
  }
  if (arrays.empty())
    throw Error(ErrorKind::kInput, path + ": holds no .npy array, expected one for each input");
  return arrays;
}

}  // namespace pare
