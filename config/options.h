#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pare {

/// The settings of one pass, as written in the pipeline file.
///
/// Every read consumes its key; finish() then rejects what nobody asked for, so a misspelt key is
/// an error instead of a silent default. All errors are Error(kUsage) and name file, line and pass.
class Options {
 public:
  /// One key as written: a list counts its items, anything else is a list of one.
  struct Entry {
    std::vector<std::string> items;
    bool is_list = false;
    int line = 0;  ///< 0: not from a file.
  };

  /// `file` may be empty; `line` is the pass's.
  Options(std::string file, int line, std::string pass, std::map<std::string, Entry> entries)
      : file_(std::move(file)), line_(line), pass_(std::move(pass)), entries_(std::move(entries)) {}
  /// No settings, for a pass outside any file.
  explicit Options(std::string pass) : Options({}, 0, std::move(pass), {}) {}

  /// The number; a value outside [low, high] is an error.
  double number(const std::string& key, double fallback, double low, double high);
  int64_t integer(const std::string& key, int64_t fallback, int64_t low, int64_t high);
  std::string text(const std::string& key, const std::string& fallback);
  /// One of `allowed`.
  std::string choice(const std::string& key, const std::string& fallback,
                     const std::vector<std::string>& allowed);
  /// true or false (also yes, no, on, off).
  bool flag(const std::string& key, bool fallback);
  /// A list of words; a single word is a list of one.
  std::vector<std::string> list(const std::string& key,
                                const std::vector<std::string>& fallback = {});
  /// A list of whole numbers in [low, high].
  std::vector<int64_t> integers(const std::string& key, int64_t low, int64_t high);
  /// Writes a key, over what stood there.
  void set(const std::string& key, Entry entry) { entries_[key] = std::move(entry); }
  /// As written, and not consumed yet.
  const std::map<std::string, Entry>& entries() const { return entries_; }
  bool has(const std::string& key) const { return entries_.contains(key); }
  /// Throws for a key nobody asked for.
  void finish() const;

  /// Keys asked for so far, in that order.
  const std::vector<std::string>& known() const { return known_; }
  /// "prune.yaml:4: prune-channels", for messages.
  std::string where() const { return where(line_); }
  /// "prune.yaml:4: ", empty without a file.
  std::string place() const;
  /// An Error(kUsage) about `key`: "prune.yaml:5: prune-channels: <sentence>", for what only
  /// the pass can check.
  [[noreturn]] void fail(const std::string& key, const std::string& sentence) const;

 private:
  std::string where(int line) const;
  /// Moves a key to taken_; null when it was not written.
  const Entry* take(const std::string& key);
  /// The word of a key that takes a single value.
  const std::string* take_word(const std::string& key);
  int64_t whole_number(const std::string& key, const std::string& word, int64_t low,
                       int64_t high) const;

  std::string file_;
  int line_;
  std::string pass_;
  std::map<std::string, Entry> entries_;
  std::map<std::string, Entry> taken_;
  std::vector<std::string> known_;
};

}  // namespace pare
