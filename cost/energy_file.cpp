// Reads EnergyTable from YAML; data/energy/horowitz-45nm.yaml shows every key.

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <limits>

#include "cost/energy_table.h"
#include "support/error.h"

namespace pare {
namespace {

/// A mapping of the file whose keys are checked.
class Section {
 public:
  Section(std::string path, std::string place, const YAML::Node& node,
          std::initializer_list<std::string_view> keys)
      : path_(std::move(path)), place_(std::move(place)), node_(node) {
    if (!node_.IsMap()) fail(node_, "is no mapping of keys to values");
    for (const auto& entry : node_) {
      const auto key = entry.first.IsScalar() ? entry.first.Scalar() : std::string("(no scalar)");
      if (std::ranges::find(keys, key) != keys.end()) continue;
      std::string known;
      for (std::string_view name : keys) known += (known.empty() ? "" : ", ") + std::string(name);
      fail(entry.first, "has the unknown key '" + key + "', expected " + known);
    }
  }

  bool has(const std::string& key) const { return node_[key].IsDefined(); }

  YAML::Node at(const std::string& key) const {
    YAML::Node found = node_[key];
    if (!found.IsDefined()) fail(node_, "misses the key '" + key + "'");
    return found;
  }

  std::string text(const std::string& key) const {
    const YAML::Node found = at(key);
    if (!found.IsScalar()) fail(found, "'" + key + "' is no text");
    return found.Scalar();
  }

  double number(const std::string& key) const {
    const YAML::Node found = at(key);
    double value = std::numeric_limits<double>::quiet_NaN();
    if (found.IsScalar() && !YAML::convert<double>::decode(found, value)) value = NAN;
    if (!std::isfinite(value) || value < 0) fail(found, "'" + key + "' is no number of 0 or more");
    return value;
  }

  int64_t whole(const std::string& key, int64_t low, int64_t high) const {
    const double value = number(key);
    if (value != std::floor(value) || value < static_cast<double>(low) ||
        value > static_cast<double>(high))
      fail(at(key), "'" + key + "' is no whole number from " + std::to_string(low) + " to " +
                        std::to_string(high));
    return static_cast<int64_t>(value);
  }

  Section section(const std::string& key, std::initializer_list<std::string_view> keys) const {
    return {path_, "'" + key + "'", at(key), keys};
  }

  std::vector<Section> list(const std::string& key,
                            std::initializer_list<std::string_view> keys) const {
    const YAML::Node found = at(key);
    if (!found.IsSequence()) fail(found, "'" + key + "' is no list");
    std::vector<Section> sections;
    for (const YAML::Node& item : found)
      sections.emplace_back(path_, "an entry of '" + key + "'", item, keys);
    return sections;
  }

  EnergyTable::Operation operation(const std::string& key) const {
    const Section found = section(key, {"add", "multiply"});
    return {.add = found.number("add"), .multiply = found.number("multiply")};
  }

 private:
  [[noreturn]] void fail(const YAML::Node& where, const std::string& fact) const {
    const int line = where.Mark().line;
    throw Error(ErrorKind::kUsage, path_ + (line >= 0 ? ":" + std::to_string(line + 1) : "") +
                                       ": energy table: " + place_ + " " + fact);
  }

  std::string path_, place_;
  YAML::Node node_;
};

constexpr int64_t kMaxBits = 64;
constexpr int64_t kMaxMemory = int64_t{1} << 50;

EnergyTable read(const Section& file) {
  EnergyTable table;
  table.name = file.text("name");
  table.source = file.text("source");
  table.fp32 = file.operation("float32");
  table.fp16 = file.operation("float16");
  table.article_fp32 =
      file.has("article") ? file.section("article", {"float32"}).operation("float32") : table.fp32;
  table.integers.clear();
  for (const Section& row : file.list("integers", {"bits", "add", "multiply"})) {
    table.integers.push_back(
        {.bits = static_cast<int>(row.whole("bits", 1, kMaxBits)), .add = row.number("add")});
    if (row.has("multiply")) table.integers.back().multiply = row.number("multiply");
  }
  const Section fit =
      file.section("integer_fit", {"add_per_bit", "multiply_square", "multiply_linear"});
  table.integer_add_per_bit = fit.number("add_per_bit");
  table.integer_multiply_square = fit.number("multiply_square");
  table.integer_multiply_linear = fit.number("multiply_linear");
  table.integer_accumulate = file.number("integer_accumulate");
  const Section memory = file.section("memory", {"sram", "dram"});
  table.sram.clear();
  for (const Section& level : memory.list("sram", {"bytes", "pj_per_byte"}))
    table.sram.push_back({.bytes = static_cast<uint64_t>(level.whole("bytes", 1, kMaxMemory)),
                          .pj_per_byte = level.number("pj_per_byte")});
  std::ranges::sort(table.sram, {}, &EnergyTable::Memory::bytes);
  table.dram_pj_per_byte = memory.section("dram", {"pj_per_byte"}).number("pj_per_byte");
  return table;
}

}  // namespace

EnergyTable EnergyTable::load(const std::string& path) {
  YAML::Node node;
  try {
    node = YAML::LoadFile(path);
  } catch (const YAML::BadFile&) {
    throw Error(ErrorKind::kUsage, path + ": energy table cannot be read");
  } catch (const YAML::ParserException& error) {
    throw Error(ErrorKind::kUsage, path + ":" + std::to_string(error.mark.line + 1) +
                                       ": energy table is no YAML: " + error.msg);
  }
  return read({path,
               "the file",
               node,
               {"name", "source", "float32", "float16", "integers", "integer_fit",
                "integer_accumulate", "article", "memory"}});
}

}  // namespace pare
