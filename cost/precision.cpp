#include "cost/precision.h"

#include <charconv>

namespace pare {
namespace {

constexpr int kMinIntegerBits = 2;
constexpr int kMaxIntegerBits = 32;

}  // namespace

Precision Precision::of(DType dtype) {
  if (dtype == DType::kBool) return {.floating = false, .bits = 8};
  if (is_integer(dtype)) return {.floating = false, .bits = bit_width(dtype)};
  const int bits = bit_width(dtype);
  return {.floating = true, .bits = bits > 0 ? bits : 32};
}

std::optional<Precision> Precision::parse(std::string_view text) {
  if (text == "fp32") return Precision{true, 32};
  if (text == "fp16") return Precision{true, 16};
  if (text == "binary") return Precision{false, 1};
  if (!text.starts_with("int")) return std::nullopt;
  text.remove_prefix(3);
  int bits = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), bits);
  if (failure != std::errc() || end != text.data() + text.size() || bits < kMinIntegerBits ||
      bits > kMaxIntegerBits)
    return std::nullopt;
  return Precision{false, bits};
}

std::string to_string(Precision precision) {
  if (precision == Precision{false, 1}) return "binary";
  return (precision.floating ? "fp" : "int") + std::to_string(precision.bits);
}

}  // namespace pare
