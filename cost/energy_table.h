#pragma once

#include <string>
#include <vector>

#include "tensor/types.h"

namespace pare {

/// kMac: a multiply and an accumulate per MAC, memory included. kArticle: every operation (two a
/// MAC) is charged a multiply plus an add and memory is left out, as in the published chain
/// 33.88 -> 1.771 -> 1.2397 W.
enum class Convention : uint8_t { kMac, kArticle };

/// Energy per operation and per bit moved; data, read from YAML (data/energy/*.yaml).
struct EnergyTable {
  std::string name = "horowitz-45nm";
  std::string source;  ///< Where the figures come from, printed in reports.
  // Picojoules; see data/energy/horowitz-45nm.yaml for the keys.
  struct Operation {
    double add = 0;
    double multiply = 0;
  };
  Operation fp32{0.9, 3.7}, fp16{0.4, 1.1};
  double article_fp32 = 4.4;  ///< What the article charges an FP32 operation (4 + 0.4).
  double integer_add_per_bit = 0.003125;
  double integer_multiply_square = 0.0029948;  ///< times bits^2
  double integer_multiply_linear = 0.0010417;  ///< times bits
  double integer_accumulator_add = 0.1;        ///< 32-bit add of an integer MAC
  double sram_pj_per_bit = 0.15625;            ///< 10 pJ per 64 bits of an 8 KB SRAM
  double dram_pj_per_bit = 20.3125;            ///< 1300 pJ per 64 bits

  /// Reads a table; throws Error(kUsage) naming file, line and key for what it does not know.
  static EnergyTable load(const std::string& path);

  /// Energy [pJ] of one multiply-accumulate of an operand of type `a` by one of type `b`.
  double mac_pj(DType a, DType b, Convention convention) const;
  /// Energy [pJ] of one operation that is no MAC, at type `t`.
  double op_pj(DType t) const;
};

}  // namespace pare
