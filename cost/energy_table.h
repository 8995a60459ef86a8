#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cost/precision.h"
#include "tensor/types.h"

namespace pare {

/// kMac: a multiply and an accumulate per MAC, memory included. kArticle: every operation (two a
/// MAC) is charged a multiply plus an add, and other operations and memory are left out, as in the
/// published chain 33.88 -> 1.771 -> 1.2397 W.
enum class Convention : uint8_t { kMac, kArticle };

std::string_view to_string(Convention convention);  ///< "mac", "article".

/// Energy per operation and per byte moved, in picojoules; data, read from YAML (data/energy).
///
/// The defaults are data/energy/horowitz-45nm.yaml (a test holds them equal), so the tool works
/// without any file.
struct EnergyTable {
  struct Operation {
    double add = 0;
    double multiply = 0;
  };
  /// An integer width with figures of its own; a width without a row is computed by the fit.
  struct IntegerRow {
    int bits = 0;
    double add = 0;
    std::optional<double> multiply;
  };
  struct Memory {
    uint64_t bytes = 0;  ///< Capacity the figure holds for.
    double pj_per_byte = 0;
  };

  std::string name = "horowitz-45nm";
  std::string source =
      "M. Horowitz, \"Computing's energy problem (and what we can do about it)\", ISSCC 2014: 45 "
      "nm, 0.9 V; integer widths between by the quadratic fit of QKeras";
  Operation fp32{0.9, 3.7}, fp16{0.4, 1.1};
  Operation article_fp32{0.4, 4.0};  ///< What the article charges an FP32 operation.
  std::vector<IntegerRow> integers{{8, 0.03, 0.2}, {16, 0.05, std::nullopt}, {32, 0.1, 3.1}};
  double integer_add_per_bit = 0.003125;
  double integer_multiply_square = 0.0029948;  ///< times bits^2
  double integer_multiply_linear = 0.0010417;  ///< times bits
  double integer_accumulate = 0.1;             ///< 32-bit add of an integer MAC
  std::vector<Memory> sram{{8 << 10, 1.25}, {32 << 10, 2.5}, {1 << 20, 12.5}};  ///< Ascending.
  double dram_pj_per_byte = 162.5;  ///< 1300 pJ per 64 bits, the lower end of the published range.

  /// Reads a table; throws Error(kUsage) naming file, line and key for what it does not know or
  /// misses.
  static EnergyTable load(const std::string& path);

  /// Energy [pJ] of one multiply-accumulate of an operand of precision `a` by one of `b`. Where one
  /// of them is floating the product is floating, at the wider of the two; formats wider than 32
  /// bits are charged as fp32.
  double mac_pj(Precision a, Precision b, Convention convention) const;
  double mac_pj(DType a, DType b, Convention convention) const {
    return mac_pj(Precision::of(a), Precision::of(b), convention);
  }
  /// Energy [pJ] of one operation that is no MAC: an add at that precision.
  double op_pj(Precision precision) const;
  double op_pj(DType t) const { return op_pj(Precision::of(t)); }

  /// Energy [pJ] of moving one byte to or from an on-chip memory of `bytes` capacity: the smallest
  /// level that holds them, or the largest there is.
  double sram_pj_per_byte(uint64_t bytes) const;

 private:
  const IntegerRow* row(int bits) const;
  double integer_add(int bits) const;
  double integer_multiply(int a, int b) const;
};

}  // namespace pare
