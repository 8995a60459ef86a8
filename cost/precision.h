#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "tensor/types.h"

namespace pare {

/// A number format, as energy is charged by: floating or integer, and its width.
struct Precision {
  bool floating = true;
  int bits = 32;

  /// Signedness makes no difference; bool counts as 8-bit, an undefined type as fp32.
  static Precision of(DType dtype);
  /// "fp32", "fp16", "int8", "int4", any "intN" of 2 to 32 bits, "binary". Empty for anything else.
  static std::optional<Precision> parse(std::string_view text);

  bool operator==(const Precision&) const = default;
};

/// What parse() reads: "fp32", "int8", "binary".
std::string to_string(Precision precision);

}  // namespace pare
