#include "support/text_table.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

namespace pare {
namespace {

constexpr std::string_view kGap = "  ";
constexpr std::string_view kEllipsis = "...";
constexpr int kSiDigits = 4;
constexpr size_t kLeastWords = 12;  ///< Columns of words are not made narrower than this.

bool starts_character(char byte) { return (static_cast<unsigned char>(byte) & 0xc0u) != 0x80u; }

size_t display_width(std::string_view text) {
  return static_cast<size_t>(std::ranges::count_if(text, starts_character));
}

/// The first `count` characters, or the last ones.
std::string_view head(std::string_view text, size_t count) {
  size_t i = 0;
  for (; i < text.size(); ++i)
    if (starts_character(text[i]) && count-- == 0) break;
  return text.substr(0, i);
}

std::string_view tail(std::string_view text, size_t count) {
  return text.substr(head(text, display_width(text) - count).size());
}

std::string fitted(std::string_view raw, size_t limit) {
  std::string text = printable(raw);
  if (limit <= kEllipsis.size() || display_width(text) <= limit) return text;
  const size_t kept = limit - kEllipsis.size();
  return std::string(head(text, kept / 2)) + std::string(kEllipsis) +
         std::string(tail(text, kept - kept / 2));
}

template <typename... Values>
std::string format(const char* pattern, Values... values) {
  std::array<char, 128> buffer{};
  std::snprintf(buffer.data(), buffer.size(), pattern, values...);
  return buffer.data();
}

}  // namespace

std::string printable(std::string_view text) {
  std::string result(text);
  std::ranges::replace_if(
      result, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, '?');
  return result;
}

TextTable::TextTable(std::vector<Column> columns) : columns_(std::move(columns)) {
  for (Column& column : columns_) column.title = fitted(column.title, column.max_width);
}

void TextTable::add_row(std::vector<std::string> cells) {
  cells.resize(columns_.size());
  for (size_t i = 0; i < cells.size(); ++i) cells[i] = fitted(cells[i], columns_[i].max_width);
  rows_.push_back(std::move(cells));
}

void TextTable::add_rule() { rows_.emplace_back(); }

std::string TextTable::str(size_t width) const {
  std::vector<size_t> widths = column_widths();
  if (width > 0) shrink_words(widths, width);
  std::string text;
  for (size_t next = 0; next < columns_.size() || next == 0;) {
    std::vector<size_t> shown;
    if (next > 0) shown.push_back(0);  // Says again which row is which.
    size_t taken = next > 0 ? widths[0] : 0;
    const size_t least = shown.size() + 1;  // A block takes a new column, however wide.
    for (; next < columns_.size(); ++next) {
      const size_t more = widths[next] + (shown.empty() ? 0 : kGap.size());
      if (width > 0 && shown.size() >= least && taken + more > width) break;
      shown.push_back(next);
      taken += more;
    }
    text += (text.empty() ? "" : "\n") + block(shown, widths);
    if (columns_.empty()) break;
  }
  return text;
}

std::vector<size_t> TextTable::column_widths() const {
  std::vector<size_t> widths;
  for (const Column& column : columns_) widths.push_back(display_width(column.title));
  for (const auto& row : rows_)
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], display_width(row[i]));
  return widths;
}

void TextTable::shrink_words(std::vector<size_t>& widths, size_t width) const {
  size_t total = kGap.size() * (columns_.size() - 1);
  for (const size_t each : widths) total += each;
  while (total > width) {
    size_t longest = columns_.size();
    for (size_t i = 0; i < columns_.size(); ++i) {
      if (columns_[i].align != Align::kLeft || widths[i] <= kLeastWords) continue;
      if (longest == columns_.size() || widths[i] > widths[longest]) longest = i;
    }
    if (longest == columns_.size()) return;
    --widths[longest], --total;
  }
}

std::string TextTable::block(const std::vector<size_t>& shown,
                             const std::vector<size_t>& widths) const {
  std::string text;
  const auto line = [&](const auto& cell) {
    std::string line;
    for (const size_t i : shown) {
      const std::string content = fitted(cell(i), widths[i]);
      const std::string padding(widths[i] - display_width(content), ' ');
      if (i != shown.front()) line += kGap;
      line += columns_[i].align == Align::kRight ? padding + content : content + padding;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  };
  line([&](size_t i) { return columns_[i].title; });
  for (const auto& row : rows_)
    line([&](size_t i) { return row.empty() ? std::string(widths[i], '-') : row[i]; });
  return text;
}

std::string with_commas(uint64_t number) {
  std::string text = std::to_string(number);
  for (size_t i = text.size(); i > 3; i -= 3) text.insert(i - 3, 1, ',');
  return text;
}

std::string human_bytes(uint64_t bytes) {
  static constexpr std::array<const char*, 6> kUnits = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  if (bytes < 1024) return format("%llu B", static_cast<unsigned long long>(bytes));
  double amount = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  while (amount >= 999.5 && unit + 1 < kUnits.size()) amount /= 1024, ++unit;
  return digits(amount, 3) + " " + kUnits[unit];
}

std::string si(double quantity, std::string_view unit) {
  struct Prefix {
    double factor;
    const char* name;
  };
  static constexpr std::array<Prefix, 8> kPrefixes = {{{1e9, "G"},
                                                       {1e6, "M"},
                                                       {1e3, "k"},
                                                       {1, ""},
                                                       {1e-3, "m"},
                                                       {1e-6, "u"},
                                                       {1e-9, "n"},
                                                       {1e-12, "p"}}};
  if (quantity == 0 || !std::isfinite(quantity))
    return digits(quantity, kSiDigits) + " " + std::string(unit);
  const double magnitude = std::abs(quantity);
  const auto fit = std::ranges::find_if(
      kPrefixes, [&](const Prefix& p) { return magnitude >= 0.99995 * p.factor; });
  const Prefix& prefix = fit == kPrefixes.end() ? kPrefixes.back() : *fit;
  return digits(quantity / prefix.factor, kSiDigits) + " " + prefix.name + std::string(unit);
}

std::string digits(double number, int significant) {
  if (std::isnan(number)) return "nan";
  if (std::isinf(number)) return number > 0 ? "inf" : "-inf";
  if (number == 0) return "0";
  // The exponent after rounding: 0.9996 has that of 1.00.
  const std::string rounded = format("%.*e", significant - 1, number);
  const int exponent = std::stoi(rounded.substr(rounded.find('e') + 1));
  if (exponent < -5 || exponent > 15) return format("%.*g", significant, number);
  const int decimals = std::max(0, significant - 1 - exponent);
  return format("%.*f", decimals, number);
}

std::string human_seconds(double seconds) {
  if (!std::isfinite(seconds)) return "?";
  if (seconds < 0.01) return "< 0.01 s";
  if (seconds < 60) return digits(seconds, seconds < 1 ? 2 : 3) + " s";
  const auto whole = static_cast<long long>(std::min(seconds, 1e12));
  if (whole < 3600) return format("%lld min %02lld s", whole / 60, whole % 60);
  return format("%lld h %02lld min", whole / 3600, whole / 60 % 60);
}

std::string change(double before, double after) {
  if (before == 0) return after == 0 ? "+0.0 %" : "-";
  return format("%+.1f %%", 100 * (after - before) / before);
}

}  // namespace pare
