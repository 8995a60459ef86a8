#include "cost/data_file.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "support/error.h"

namespace pare {

DataSection::DataSection(std::string path, std::string what, std::string place,
                         const YAML::Node& node, const Keys& keys)
    : path_(std::move(path)),
      what_(std::move(what)),
      place_(std::move(place)),
      node_(std::make_shared<const YAML::Node>(node)) {
  if (!node.IsMap()) fail_at(node, "is no mapping of keys to values");
  for (const auto& entry : node) {
    const auto key = entry.first.IsScalar() ? entry.first.Scalar() : std::string("(no scalar)");
    if (std::ranges::find(keys, key) != keys.end()) continue;
    std::string known;
    for (std::string_view name : keys) known += (known.empty() ? "" : ", ") + std::string(name);
    fail_at(entry.first, "has the unknown key '" + key + "', expected " + known);
  }
}

std::vector<DataSection> DataSection::load(const std::string& path, const std::string& what,
                                           const Keys& keys) {
  std::vector<DataSection> sections;
  try {
    for (const YAML::Node& node : YAML::LoadAllFromFile(path))
      sections.push_back({path, what, "the file", node, keys});
  } catch (const YAML::BadFile&) {
    throw Error(ErrorKind::kUsage, path + ": " + what + " cannot be read");
  } catch (const YAML::ParserException& error) {
    throw Error(ErrorKind::kUsage, path + ":" + std::to_string(error.mark.line + 1) + ": " + what +
                                       " is no YAML: " + error.msg);
  }
  if (sections.empty()) throw Error(ErrorKind::kUsage, path + ": " + what + " is empty");
  return sections;
}

std::vector<DataSection> DataSection::parse(const std::string& text, const std::string& path,
                                            const std::string& what, const Keys& keys) {
  std::vector<DataSection> sections;
  for (const YAML::Node& node : YAML::LoadAll(text))
    sections.push_back({path, what, "the file", node, keys});
  return sections;
}

bool DataSection::has(const std::string& key) const { return (*node_)[key].IsDefined(); }

YAML::Node DataSection::at(const std::string& key) const {
  YAML::Node found = (*node_)[key];
  if (!found.IsDefined()) fail_at(*node_, "misses the key '" + key + "'");
  return found;
}

std::string DataSection::text(const std::string& key) const {
  const YAML::Node found = at(key);
  if (!found.IsScalar()) fail_at(found, "'" + key + "' is no text");
  return found.Scalar();
}

double DataSection::number(const std::string& key) const {
  const YAML::Node found = at(key);
  double value = std::numeric_limits<double>::quiet_NaN();
  if (found.IsScalar() && !YAML::convert<double>::decode(found, value)) value = NAN;
  if (!std::isfinite(value) || value < 0) fail_at(found, "'" + key + "' is no number of 0 or more");
  return value;
}

int64_t DataSection::whole(const std::string& key, int64_t low, int64_t high) const {
  const double value = number(key);
  if (value != std::floor(value) || value < static_cast<double>(low) ||
      value > static_cast<double>(high))
    fail_at(at(key), "'" + key + "' is no whole number from " + std::to_string(low) + " to " +
                         std::to_string(high));
  return static_cast<int64_t>(value);
}

DataSection DataSection::section(const std::string& key, const Keys& keys) const {
  return {path_, what_, "'" + key + "'", at(key), keys};
}

std::vector<DataSection> DataSection::list(const std::string& key, const Keys& keys) const {
  const YAML::Node found = at(key);
  if (!found.IsSequence()) fail_at(found, "'" + key + "' is no list");
  std::vector<DataSection> sections;
  for (const YAML::Node& item : found)
    sections.push_back({path_, what_, "an entry of '" + key + "'", item, keys});
  return sections;
}

void DataSection::fail(const std::string& key, const std::string& fact) const {
  fail_at(at(key), fact);
}

void DataSection::fail_at(const YAML::Node& where, const std::string& fact) const {
  const int line = where.Mark().line;
  throw Error(ErrorKind::kUsage, path_ + (line >= 0 ? ":" + std::to_string(line + 1) : "") + ": " +
                                     what_ + ": " + place_ + " " + fact);
}

}  // namespace pare
