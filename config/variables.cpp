#include "config/variables.h"

#include <algorithm>
#include <cctype>

#include "config/suggest.h"

namespace pare {
namespace {

bool starts_name(char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0 || c == '_'; }
bool goes_on(char c) {
  return starts_name(c) || std::isdigit(static_cast<unsigned char>(c)) != 0 || c == '-';
}

/// What stands behind a dollar sign at `at`: the name, and where the text goes on. An empty name is
/// none.
struct Reference {
  std::string name;
  size_t end;
};

Reference reference_at(const std::string& word, size_t at) {
  const bool braces = at + 1 < word.size() && word[at + 1] == '{';
  const size_t begin = at + (braces ? 2 : 1);
  size_t end = begin;
  while (end < word.size() && (end == begin ? starts_name(word[end]) : goes_on(word[end]))) ++end;
  if (braces && (end >= word.size() || word[end] != '}')) return {"", end};
  return {word.substr(begin, end - begin), end + (braces ? 1 : 0)};
}

}  // namespace

std::string escaped_dollars(const std::string& word) {
  std::string text;
  for (const char c : word) text += c == '$' ? "$$" : std::string(1, c);
  return text;
}

bool is_variable_name(const std::string& name) {
  return !name.empty() && starts_name(name[0]) && std::ranges::all_of(name, goes_on);
}

std::vector<std::string> Variables::names() const {
  std::vector<std::string> names;
  for (const auto& [name, value] : values_) names.push_back(name);
  return names;
}

std::vector<std::string> Variables::unused() const {
  std::vector<std::string> unused;
  for (const auto& [name, value] : values_)
    if (!used_.contains(name)) unused.push_back(name);
  return unused;
}

std::string Variables::expand(Options::Entry& entry) {
  Options::Entry expanded{.is_list = entry.is_list, .line = entry.line};
  for (const std::string& word : entry.items)
    if (std::string wrong = expand_word(word, expanded); !wrong.empty()) return wrong;
  entry = std::move(expanded);
  return {};
}

std::string Variables::expand_word(const std::string& word, Options::Entry& into) {
  std::string text;
  for (size_t at = 0; at < word.size();) {
    if (word[at] != '$') {
      text += word[at++];
      continue;
    }
    if (at + 1 < word.size() && word[at + 1] == '$') {
      text += '$';
      at += 2;
      continue;
    }
    const auto [name, end] = reference_at(word, at);
    if (name.empty())
      return "'" + word +
             "' has a $ without a name behind it, expected $name, ${name}, or $$ for a $";
    const auto found = values_.find(name);
    if (found == values_.end()) {
      const std::string hint = suggestion(name, names());
      return "variable '" + name + "' is not defined" +
             (!hint.empty() || values_.empty() ? hint : ", only " + joined(names()));
    }
    used_.insert(name);
    const Options::Entry& value = found->second;
    if (at == 0 && end == word.size() && value.is_list) {
      into.items.insert(into.items.end(), value.items.begin(), value.items.end());
      into.is_list = true;
      return {};
    }
    if (value.is_list)
      return "variable '" + name + "' is a list and cannot stand inside '" + word + "'";
    text += value.items.front();
    at = end;
  }
  into.items.push_back(std::move(text));
  return {};
}

}  // namespace pare
