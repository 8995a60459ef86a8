#pragma once

#include <map>
#include <string>
#include <vector>

#include "images/archive.h"
#include "images/image.h"

namespace pare {

/// The images of a folder (and the folders in it) or of an archive, by name; decoded one at a time
/// when asked for. Hidden files are passed over. Thread-safe.
class ImageSet {
 public:
  /// Lists what is there; nothing is decoded. Throws Error(kInput) where there is no image.
  static ImageSet open(const std::string& path);

  size_t size() const { return names_.size(); }
  /// Relative to the folder or archive, "cat/0001.jpg"; sorted by their bytes.
  const std::vector<std::string>& names() const { return names_; }
  /// Throws Error(kInput) with the reason alone where the image is damaged.
  Image decode(size_t index) const;
  /// Files that were passed over because their ending is no image's, counted by ending.
  const std::map<std::string, size_t>& others() const { return others_; }

  /// The class of each image, where every one lies in a folder of its class and there are two or
  /// more such folders: the folder's number where all are numbers, else its place among the
  /// folders' sorted names. Folders that all lie in one ("train/cat") count as "cat". Empty
  /// otherwise.
  std::vector<int64_t> folder_classes() const;

 private:
  void list_folder();
  void list_archive();

  std::string path_;
  std::vector<std::string> names_;
  std::vector<ArchiveMember> members_;  ///< Of an archive, in the order of names_.
  std::map<std::string, size_t> others_;
};

}  // namespace pare
