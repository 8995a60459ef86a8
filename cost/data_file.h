#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace YAML {
class Node;
}

namespace pare {

/// A mapping in a data file (energy tables, device profiles) whose keys are checked. Everything it
/// cannot read is an Error(kUsage) naming file, line, place and what is wrong.
class DataSection {
 public:
  using Keys = std::vector<std::string_view>;

  /// The documents of a YAML file, one at least, each a mapping; `what` is what the file is called
  /// in messages ("energy table").
  static std::vector<DataSection> load(const std::string& path, const std::string& what,
                                       const Keys& keys);
  /// The same from text; `path` stands for it in messages.
  static std::vector<DataSection> parse(const std::string& text, const std::string& path,
                                        const std::string& what, const Keys& keys);

  bool has(const std::string& key) const;
  std::string text(const std::string& key) const;
  /// A finite number, 0 or more.
  double number(const std::string& key) const;
  int64_t whole(const std::string& key, int64_t low, int64_t high) const;
  DataSection section(const std::string& key, const Keys& keys) const;
  /// A list of mappings.
  std::vector<DataSection> list(const std::string& key, const Keys& keys) const;
  /// Throws about `key`: "FILE:LINE: energy table: the file <fact>".
  [[noreturn]] void fail(const std::string& key, const std::string& fact) const;

 private:
  DataSection(std::string path, std::string what, std::string place, const YAML::Node& node,
              const Keys& keys);
  YAML::Node at(const std::string& key) const;
  [[noreturn]] void fail_at(const YAML::Node& where, const std::string& fact) const;

  std::string path_, what_, place_;
  std::shared_ptr<const YAML::Node> node_;
};

}  // namespace pare
