#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "config/options.h"

namespace pare {

/// The variables of one pipeline file. A value that is `$name` or `${name}` alone takes what the
/// variable holds, a list too; inside other text it takes its word; `$$` is a dollar sign.
class Variables {
 public:
  void define(const std::string& name, Options::Entry entry) { values_[name] = std::move(entry); }
  bool has(const std::string& name) const { return values_.contains(name); }
  bool empty() const { return values_.empty(); }
  std::vector<std::string> names() const;

  /// Puts values in for what `entry` refers to. Returns what is wrong with it, in words; empty
  /// where nothing is.
  std::string expand(Options::Entry& entry);
  /// Defined, and not referred to by anything that was expanded, in order.
  std::vector<std::string> unused() const;
  const Options::Entry& value(const std::string& name) const { return values_.at(name); }

 private:
  std::string expand_word(const std::string& word, Options::Entry& into);

  std::map<std::string, Options::Entry> values_;
  std::set<std::string> used_;
};

/// Text that expands to `word`: with every $ doubled.
std::string escaped_dollars(const std::string& word);

/// A letter or _, then letters, digits, _ and -.
bool is_variable_name(const std::string& name);

}  // namespace pare
