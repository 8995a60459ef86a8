#include "images/image_set.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <set>

#include "images/decode.h"
#include "support/error.h"
#include "support/file.h"

namespace pare {
namespace {

namespace fs = std::filesystem;

/// ".DS_Store" and "._0001.jpg" are no images whatever they are called.
bool is_hidden(std::string_view name) {
  for (size_t at = 0; at < name.size();) {
    const size_t slash = std::min(name.find('/', at), name.size());
    const std::string_view part = name.substr(at, slash - at);
    if (part.starts_with('.') && part != "." && part != "..") return true;
    at = slash + 1;
  }
  return false;
}

std::string ending_of(std::string_view name) {
  const size_t dot = name.rfind('.');
  return dot == std::string_view::npos || name.find('/', dot) != std::string_view::npos
             ? std::string("(none)")
             : std::string(name.substr(dot));
}

/// The name of the folder an image lies in, without the folders around it; empty at the top.
std::string class_of(const std::string& name) {
  const size_t slash = name.rfind('/');
  if (slash == std::string::npos) return {};
  const size_t before = slash == 0 ? std::string::npos : name.rfind('/', slash - 1);
  return name.substr(before == std::string::npos ? 0 : before + 1, slash - (before + 1));
}

/// A whole number without a sign; -1 where `text` is none.
int64_t whole_number(const std::string& text) {
  int64_t number = -1;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  return failure == std::errc() && end == text.data() + text.size() ? number : -1;
}

}  // namespace

ImageSet ImageSet::open(const std::string& path) {
  ImageSet set;
  set.path_ = path;
  if (fs::is_directory(path)) {
    set.list_folder();
  } else {
    set.list_archive();
  }
  if (set.names_.empty())
    throw Error(ErrorKind::kInput,
                path + ": holds no image, expected .jpg, .jpeg, .png, .webp or .bmp");
  return set;
}

void ImageSet::list_folder() {
  std::error_code failure;
  const fs::recursive_directory_iterator files(path_, failure);
  if (failure) throw Error(ErrorKind::kInput, path_ + ": cannot be listed: " + failure.message());
  for (const fs::directory_entry& file : files) {
    const std::string name = file.path().lexically_relative(path_).generic_string();
    if (is_hidden(name) || !file.is_regular_file(failure)) continue;
    if (has_image_name(name)) {
      names_.push_back(name);
    } else {
      ++others_[ending_of(name)];
    }
  }
  std::ranges::sort(names_);
}

void ImageSet::list_archive() {
  members_ = read_archive(path_, [&](std::string_view name) {
    if (is_hidden(name)) return false;
    if (has_image_name(name)) return true;
    ++others_[ending_of(name)];
    return false;
  });
  std::ranges::stable_sort(members_, {}, &ArchiveMember::name);
  std::vector<ArchiveMember> last;  // Of equal names the later one counts, as when unpacked.
  for (ArchiveMember& member : members_) {
    if (!last.empty() && last.back().name == member.name) last.pop_back();
    last.push_back(std::move(member));
  }
  members_ = std::move(last);
  for (const ArchiveMember& member : members_) names_.push_back(member.name);
}

Image ImageSet::decode(size_t index) const {
  if (!members_.empty()) return decode_image(members_[index].bytes);
  const std::string path = (fs::path(path_) / names_[index]).string();
  try {
    const auto file = MappedFile::open(path);
    return decode_image(file->bytes());
  } catch (const Error& error) {
    const std::string reason = error.what();
    const std::string prefix = path + ": ";
    if (!reason.starts_with(prefix)) throw;
    throw Error(error.kind(), reason.substr(prefix.size()));
  }
}

std::vector<int64_t> ImageSet::folder_classes() const {
  std::set<std::string> folders;
  for (const std::string& name : names_) folders.insert(class_of(name));
  if (folders.size() < 2 || folders.contains("")) return {};
  std::map<std::string, int64_t> classes;
  const bool numbered =
      std::ranges::all_of(folders, [](const std::string& f) { return whole_number(f) >= 0; });
  for (const std::string& folder : folders) {
    const auto place = static_cast<int64_t>(classes.size());
    classes[folder] = numbered ? whole_number(folder) : place;
  }
  std::vector<int64_t> labels;
  for (const std::string& name : names_) labels.push_back(classes.at(class_of(name)));
  return labels;
}

}  // namespace pare
