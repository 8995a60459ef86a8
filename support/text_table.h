#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace pare {

/// Lines up rows of text for a terminal. Two spaces between columns, no frames, no colours.
///
/// Widths count UTF-8 characters; control characters (a model's names are untrusted) print as '?'.
class TextTable {
 public:
  enum class Align : uint8_t { kLeft, kRight };
  struct Column {
    std::string title;
    Align align = Align::kRight;
    size_t max_width = 0;  ///< Longer cells and titles lose their middle to "...". 0: no limit.
  };

  explicit TextTable(std::vector<Column> columns);

  /// Missing cells are empty; cells beyond the columns are dropped.
  void add_row(std::vector<std::string> cells);
  /// A line of dashes, before a row of sums.
  void add_rule();
  /// Lines end in '\n'; the last cell of a line is not padded. Where the table is wider than
  /// `width` characters (0: no limit), long cells of columns of words lose their middle first; what
  /// is still too wide goes on below, behind the first column again.
  std::string str(size_t width = 0) const;

 private:
  std::vector<size_t> column_widths() const;
  void shrink_words(std::vector<size_t>& widths, size_t width) const;
  std::string block(const std::vector<size_t>& shown, const std::vector<size_t>& widths) const;

  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;  ///< An empty row is a rule.
};

/// `text` with control characters replaced by '?'.
std::string printable(std::string_view text);

/// "1234567" as "1,234,567".
std::string with_commas(uint64_t number);
/// A byte count with three digits and a binary unit: "3.27 MiB", "512 B".
std::string human_bytes(uint64_t bytes);
/// A quantity with an SI prefix and four significant digits: (0.00123, "J") is "1.230 mJ".
std::string si(double quantity, std::string_view unit);
/// printf "%.*g" without an exponent where that stays short; "inf" and "nan" as such.
std::string digits(double number, int significant);
/// Seconds as "0.42 s", "3 min 05 s", "2 h 07 min"; "< 0.01 s" for less.
std::string human_seconds(double seconds);
/// Relative change in percent: "-30.0 %", "+0.0 %"; "-" where `before` is 0.
std::string change(double before, double after);

}  // namespace pare
