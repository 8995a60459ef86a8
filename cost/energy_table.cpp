#include "cost/energy_table.h"

#include <algorithm>

namespace pare {
namespace {

constexpr int kOperationsPerMac = 2;

}  // namespace

std::string_view to_string(Convention convention) {
  return convention == Convention::kMac ? "mac" : "article";
}

const EnergyTable::IntegerRow* EnergyTable::row(int bits) const {
  const auto it = std::ranges::find(integers, bits, &IntegerRow::bits);
  return it == integers.end() ? nullptr : &*it;
}

double EnergyTable::integer_add(int bits) const {
  const IntegerRow* known = row(bits);
  return known ? known->add : integer_add_per_bit * bits;
}

double EnergyTable::integer_multiply(int a, int b) const {
  if (a == 1 && b == 1) return integer_add(1);  // An XNOR, charged as the smallest add.
  const IntegerRow* known = a == b ? row(a) : nullptr;
  if (known && known->multiply) return *known->multiply;
  // Two widths: sqrt(a b) in the square term, the mean in the linear one.
  return integer_multiply_square * a * b + integer_multiply_linear * 0.5 * (a + b);
}

double EnergyTable::mac_pj(Precision a, Precision b, Convention convention) const {
  const bool article = convention == Convention::kArticle;
  const int operations = article ? kOperationsPerMac : 1;
  if (a.floating || b.floating) {
    const int bits = std::max(a.floating ? a.bits : 0, b.floating ? b.bits : 0);
    const Operation& charged = bits <= 16 ? fp16 : article ? article_fp32 : fp32;
    return operations * (charged.multiply + charged.add);
  }
  const int bits = std::max(a.bits, b.bits);
  // A binary MAC counts up; a wider one accumulates in 32 bits. The article adds at operand width.
  const double add = article || bits == 1 ? integer_add(bits) : integer_accumulate;
  return operations * (integer_multiply(a.bits, b.bits) + add);
}

double EnergyTable::op_pj(Precision precision) const {
  if (!precision.floating) return integer_add(precision.bits);
  return precision.bits <= 16 ? fp16.add : fp32.add;
}

double EnergyTable::sram_pj_per_byte(uint64_t bytes) const {
  if (sram.empty()) return 0;
  const auto level = std::ranges::find_if(sram, [&](const Memory& m) { return m.bytes >= bytes; });
  return level == sram.end() ? sram.back().pj_per_byte : level->pj_per_byte;
}

}  // namespace pare
