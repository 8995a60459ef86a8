#include "passes/class_labels.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <map>

namespace pare {
namespace {

/// More labels than any network has, longer than any label is.
constexpr size_t kMostLabels = 1 << 20;
constexpr size_t kLongestLine = 1 << 12;

constexpr std::string_view kSpaces = " \t\r\n";

std::string_view trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(kSpaces);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpaces) - first + 1);
}

/// A quoted word of a Python or JSON literal, or a run of digits.
struct Token {
  std::string text;
  char quote = 0;  ///< 0: digits.
};

/// The words of a literal in order; nothing where something else stands in it.
class Literal {
 public:
  explicit Literal(std::string_view text) : text_(text) {}

  std::optional<std::vector<Token>> tokens() {
    std::vector<Token> result;
    while (at_ < text_.size() && result.size() < 2 * kMostLabels) {
      const char c = text_[at_];
      if (c == '\'' || c == '"') {
        result.push_back(quoted(c));
      } else if (c >= '0' && c <= '9') {
        result.push_back(digits());
      } else if (std::string_view("{}[](),: \t\r\n").find(c) == std::string_view::npos) {
        return {};
      } else {
        ++at_;
      }
    }
    return result;
  }

 private:
  Token quoted(char quote) {
    Token token{.quote = quote};
    for (++at_; at_ < text_.size() && text_[at_] != quote; ++at_) {
      if (text_[at_] == '\\' && at_ + 1 < text_.size()) ++at_;
      token.text += text_[at_];
    }
    ++at_;
    return token;
  }

  Token digits() {
    Token token;
    for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_)
      token.text += text_[at_];
    return token;
  }

  std::string_view text_;
  size_t at_ = 0;
};

std::optional<size_t> number(const std::string& text) {
  size_t value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc() || end != text.data() + text.size()) return {};
  return value;
}

/// {index: name}, every index from 0 on once; empty where it is not that.
std::vector<std::string> names_of_dict(const std::vector<Token>& tokens) {
  std::map<size_t, std::string> names;
  for (size_t i = 0; i + 1 < tokens.size(); i += 2) {
    const std::optional<size_t> index = number(tokens[i].text);
    if (!index || tokens[i + 1].quote == 0) return {};
    names[*index] = tokens[i + 1].text;
  }
  std::vector<std::string> result;
  for (auto& [index, name] : names) {
    if (index != result.size()) return {};
    result.push_back(std::move(name));
  }
  return 2 * result.size() == tokens.size() ? result : std::vector<std::string>{};
}

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find(separator, at), text.size());
    const std::string_view part = trimmed(text.substr(at, end - at));
    if (!part.empty()) parts.emplace_back(part);
    at = end + 1;
  }
  return parts;
}

std::optional<ClassLabels> parse_labels(const std::string& key, std::string_view text) {
  using Form = ClassLabels::Form;
  text = trimmed(text);
  ClassLabels labels{.key = key};
  if (text.starts_with('{') || text.starts_with('[')) {
    const std::optional<std::vector<Token>> tokens = Literal(text).tokens();
    if (!tokens || tokens->empty()) return {};
    if (text.front() == '{') {
      labels.form = tokens->front().quote == '"' ? Form::kJsonDict : Form::kDict;
      labels.names = names_of_dict(*tokens);
    } else {
      labels.form = Form::kList;
      for (const Token& token : *tokens) labels.names.push_back(token.text);
    }
  } else {
    const bool lines = text.find('\n') != std::string_view::npos;
    labels.form = lines ? Form::kLines : Form::kCommas;
    labels.names = split(text, lines ? '\n' : ',');
  }
  if (labels.names.size() < 2) return {};
  return labels;
}

std::string lower(std::string_view text) {
  std::string result(text);
  std::ranges::transform(result, result.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  });
  return result;
}

std::string quoted(const std::string& name, char quote) {
  std::string text(1, quote);
  for (char c : name) {
    if (c == quote || c == '\\') text += '\\';
    text += c;
  }
  return text + quote;
}

}  // namespace

std::vector<std::string> read_label_lines(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const auto fail = [&](const std::string& fact) {
    throw Error(ErrorKind::kUsage, path + ": " + fact);
  };
  if (!file) fail("cannot be read, expected a text file of labels");
  std::vector<std::string> names;
  size_t line = 0, empty = 0;
  for (std::string text; std::getline(file, text);) {
    ++line;
    const std::string_view name = trimmed(text);
    if (name.empty()) {
      if (empty == 0) empty = line;
      continue;
    }
    if (empty > 0) fail("line " + std::to_string(empty) + " is empty, expected one label a line");
    if (name.size() > kLongestLine || name.find('\0') != std::string_view::npos ||
        names.size() == kMostLabels)
      fail("line " + std::to_string(line) + " is no label, expected one a line");
    names.emplace_back(name);
  }
  if (names.empty()) fail("holds no label, expected one a line");
  return names;
}

std::optional<ClassLabels> labels_in_metadata(const Graph& graph) {
  constexpr std::array kKeys = {"names",         "labels",   "classes",   "class_names",
                                "classes_names", "id2label", "categories"};
  for (const char* key : kKeys) {
    const auto entry = graph.metadata.find(key);
    if (entry == graph.metadata.end()) continue;
    if (std::optional<ClassLabels> labels = parse_labels(key, entry->second)) return labels;
  }
  return {};
}

std::string to_text(const ClassLabels& labels) {
  using Form = ClassLabels::Form;
  const Form form = labels.form;
  const bool dict = form == Form::kDict || form == Form::kJsonDict;
  std::string text;
  for (size_t i = 0; i < labels.names.size(); ++i) {
    if (i > 0) text += form == Form::kLines ? "\n" : form == Form::kCommas ? "," : ", ";
    if (form == Form::kDict) text += std::to_string(i) + ": ";
    if (form == Form::kJsonDict) text += "\"" + std::to_string(i) + "\": ";
    const bool bare = form == Form::kLines || form == Form::kCommas;
    text += bare ? labels.names[i] : quoted(labels.names[i], form == Form::kDict ? '\'' : '"');
  }
  if (dict) return "{" + text + "}";
  return form == Form::kList ? "[" + text + "]" : text;
}

std::optional<int64_t> find_label(const std::vector<std::string>& names, std::string_view word) {
  const std::string wanted = lower(trimmed(word));
  const auto only = [&](auto&& meant) -> std::optional<int64_t> {
    const auto found = std::ranges::find_if(names, meant);
    if (found == names.end() || std::find_if(found + 1, names.end(), meant) != names.end())
      return {};
    return found - names.begin();
  };
  if (const auto same = only([&](const std::string& name) { return name == word; })) return same;
  if (const auto cased = only([&](const std::string& name) { return lower(name) == wanted; }))
    return cased;
  return only([&](const std::string& name) {
    return lower(trimmed(std::string_view(name).substr(0, name.find(',')))) == wanted;
  });
}

}  // namespace pare
