#include "config/options.h"

#include <algorithm>
#include <charconv>
#include <sstream>

#include "config/suggest.h"
#include "support/error.h"

namespace pare {
namespace {

/// As few digits as say the number: 0.5, 4096, 1e-05.
std::string short_text(double number) {
  std::ostringstream text;
  text << number;
  return text.str();
}

}  // namespace

std::string Options::where(int line) const {
  if (file_.empty()) return pass_;
  return file_ + ":" + std::to_string(line) + ": " + pass_;
}

std::string Options::place() const {
  return file_.empty() ? "" : file_ + ":" + std::to_string(line_) + ": ";
}

void Options::fail(const std::string& key, const std::string& sentence) const {
  int line = line_;
  for (const auto* entries : {&entries_, &taken_}) {
    const auto it = entries->find(key);
    if (it != entries->end() && it->second.line > 0) line = it->second.line;
  }
  throw Error(ErrorKind::kUsage, where(line) + ": " + sentence);
}

const Options::Entry* Options::take(const std::string& key) {
  if (std::ranges::find(known_, key) == known_.end()) known_.push_back(key);
  const auto written = entries_.find(key);
  if (written != entries_.end()) taken_.insert(entries_.extract(written));
  const auto it = taken_.find(key);
  return it == taken_.end() ? nullptr : &it->second;
}

const std::string* Options::take_word(const std::string& key) {
  const Entry* entry = take(key);
  if (!entry) return nullptr;
  if (entry->is_list) fail(key, key + " is a list, expected a single value");
  return &entry->items.front();
}

double Options::number(const std::string& key, double fallback, double low, double high) {
  const std::string* word = take_word(key);
  if (!word) return fallback;
  double value = 0;
  const auto [end, failure] = std::from_chars(word->data(), word->data() + word->size(), value);
  if (failure != std::errc() || end != word->data() + word->size() ||
      !(value >= low && value <= high)) {
    fail(key, key + " is '" + *word + "', expected a number in [" + short_text(low) + ", " +
                  short_text(high) + "]");
  }
  return value;
}

int64_t Options::whole_number(const std::string& key, const std::string& word, int64_t low,
                              int64_t high) const {
  int64_t value = 0;
  const auto [end, failure] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (failure != std::errc() || end != word.data() + word.size() || value < low || value > high) {
    fail(key, key + " is '" + word + "', expected a whole number in [" + std::to_string(low) +
                  ", " + std::to_string(high) + "]");
  }
  return value;
}

int64_t Options::integer(const std::string& key, int64_t fallback, int64_t low, int64_t high) {
  const std::string* word = take_word(key);
  return word ? whole_number(key, *word, low, high) : fallback;
}

std::string Options::text(const std::string& key, const std::string& fallback) {
  const std::string* word = take_word(key);
  return word ? *word : fallback;
}

std::string Options::choice(const std::string& key, const std::string& fallback,
                            const std::vector<std::string>& allowed) {
  const std::string* word = take_word(key);
  if (!word) return fallback;
  if (std::ranges::find(allowed, *word) == allowed.end())
    fail(key, key + " is '" + *word + "', expected one of " + joined(allowed));
  return *word;
}

bool Options::flag(const std::string& key, bool fallback) {
  const std::string* word = take_word(key);
  if (!word) return fallback;
  for (const char* yes : {"true", "yes", "on"}) {
    if (*word == yes) return true;
  }
  for (const char* no : {"false", "no", "off"}) {
    if (*word == no) return false;
  }
  fail(key, key + " is '" + *word + "', expected true or false");
}

std::vector<std::string> Options::list(const std::string& key,
                                       const std::vector<std::string>& fallback) {
  const Entry* entry = take(key);
  return entry ? entry->items : fallback;
}

std::vector<int64_t> Options::integers(const std::string& key, int64_t low, int64_t high) {
  std::vector<int64_t> numbers;
  for (const std::string& word : list(key)) numbers.push_back(whole_number(key, word, low, high));
  return numbers;
}

void Options::finish() const {
  if (entries_.empty()) return;
  const std::string& key = entries_.begin()->first;
  const std::string known =
      known_.empty() ? "it takes no options" : "known keys: " + joined(known_);
  const std::string hint = suggestion(key, known_);
  fail(key, "unknown key '" + key + "'" + hint + (hint.empty() ? "; " : " ") + known);
}

}  // namespace pare
