// Reads EnergyTable from YAML; data/energy/horowitz-45nm.yaml shows every key.

#include <algorithm>

#include "cost/data_file.h"
#include "cost/energy_table.h"
#include "support/error.h"

namespace pare {
namespace {

EnergyTable::Operation operation(const DataSection& section, const std::string& key) {
  const DataSection found = section.section(key, {"add", "multiply"});
  return {.add = found.number("add"), .multiply = found.number("multiply")};
}

constexpr int64_t kMaxBits = 64;
constexpr int64_t kMaxMemory = int64_t{1} << 50;

EnergyTable read(const DataSection& file) {
  EnergyTable table;
  table.name = file.text("name");
  table.source = file.text("source");
  table.fp32 = operation(file, "float32");
  table.fp16 = operation(file, "float16");
  table.article_fp32 =
      file.has("article") ? operation(file.section("article", {"float32"}), "float32") : table.fp32;
  table.integers.clear();
  for (const DataSection& row : file.list("integers", {"bits", "add", "multiply"})) {
    table.integers.push_back(
        {.bits = static_cast<int>(row.whole("bits", 1, kMaxBits)), .add = row.number("add")});
    if (row.has("multiply")) table.integers.back().multiply = row.number("multiply");
  }
  const DataSection fit =
      file.section("integer_fit", {"add_per_bit", "multiply_square", "multiply_linear"});
  table.integer_add_per_bit = fit.number("add_per_bit");
  table.integer_multiply_square = fit.number("multiply_square");
  table.integer_multiply_linear = fit.number("multiply_linear");
  table.integer_accumulate = file.number("integer_accumulate");
  const DataSection memory = file.section("memory", {"sram", "dram"});
  table.sram.clear();
  for (const DataSection& level : memory.list("sram", {"bytes", "pj_per_byte"}))
    table.sram.push_back({.bytes = static_cast<uint64_t>(level.whole("bytes", 1, kMaxMemory)),
                          .pj_per_byte = level.number("pj_per_byte")});
  std::ranges::sort(table.sram, {}, &EnergyTable::Memory::bytes);
  table.dram_pj_per_byte = memory.section("dram", {"pj_per_byte"}).number("pj_per_byte");
  return table;
}

}  // namespace

EnergyTable EnergyTable::load(const std::string& path) {
  return read(DataSection::load(path, "energy table",
                                {"name", "source", "float32", "float16", "integers", "integer_fit",
                                 "integer_accumulate", "article", "memory"})[0]);
}

}  // namespace pare
