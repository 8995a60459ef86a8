#include "report/rules.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <map>

#include "config/suggest.h"
#include "support/error.h"
#include "support/text_table.h"

namespace pare {
namespace {

constexpr int kMaxDepth = 100;
constexpr std::array<std::string_view, 4> kMeasured = {"agreement", "kl", "sqnr_db", "cosine"};

std::vector<std::string> known_names() {
  std::vector<std::string> names;
  for (const CostFigure& figure : cost_figures()) names.emplace_back(figure.key);
  names.insert(names.end(), kMeasured.begin(), kMeasured.end());
  return names;
}

double figure_of(const Candidate& side, const std::string& name, const std::string& rule) {
  for (const CostFigure& figure : cost_figures())
    if (name == figure.key) return figure.of(side.totals, side.rate);
  const auto found = side.measured.find(name);
  if (found == side.measured.end())
    throw Error(ErrorKind::kInput, "--fail-if '" + rule + "': " + side.name + " has no " + name +
                                       ", expected the report of a run with --data");
  return found->second;
}

/// Counts in full, measured figures with six digits.
std::string figure_text(double value) {
  constexpr double kExact = 1e15;
  const bool whole = value == std::floor(value) && std::abs(value) < kExact;
  return whole ? std::to_string(static_cast<int64_t>(value)) : digits(value, 6);
}

bool holds(const std::string& comparison, double left, double right) {
  if (comparison == "<") return left < right;
  if (comparison == "<=") return left <= right;
  if (comparison == ">") return left > right;
  if (comparison == ">=") return left >= right;
  return (left == right) == (comparison == "==");
}

/// Computes a rule while it reads it; without sides it only reads it.
class Reader {
 public:
  Reader(const std::string& rule, const Candidate* before, const Candidate* after)
      : rule_(rule), before_(before), after_(after) {}

  RuleOutcome read() {
    const double left = sum();
    const std::string comparison = read_comparison();
    const double right = sum();
    skip();
    if (at_ < rule_.size()) fail("expected nothing more");
    std::string figures;
    for (const auto& [name, value] : seen_)
      figures += (figures.empty() ? "" : ", ") + name + " is " + figure_text(value);
    return {rule_, holds(comparison, left, right), figures};
  }

 private:
  [[noreturn]] void fail(const std::string& sentence) const {
    const std::string here = at_ < rule_.size() ? "at '" + rule_.substr(at_) + "'" : "at the end";
    throw Error(ErrorKind::kUsage, "--fail-if '" + rule_ + "': " + here + ": " + sentence);
  }

  void skip() {
    while (at_ < rule_.size() && rule_[at_] == ' ') ++at_;
  }

  bool take(std::string_view token) {
    skip();
    if (!std::string_view(rule_).substr(at_).starts_with(token)) return false;
    at_ += token.size();
    return true;
  }

  std::string read_comparison() {
    for (const char* token : {"<=", ">=", "==", "!=", "<", ">"})
      if (take(token)) return token;
    fail("expected <, <=, >, >=, == or !=");
  }

  double sum() {
    double value = product();
    for (;;) {
      if (take("+")) {
        value += product();
      } else if (take("-")) {
        value -= product();
      } else {
        return value;
      }
    }
  }

  double product() {
    double value = factor();
    for (;;) {
      if (take("*")) {
        value *= factor();
      } else if (take("/")) {
        value /= factor();
      } else {
        return value;
      }
    }
  }

  double factor() {
    if (++depth_ > kMaxDepth) fail("nested too deeply");
    double value = 0;
    skip();
    if (take("-")) {
      value = -factor();
    } else if (take("(")) {
      value = sum();
      if (!take(")")) fail("expected ')'");
    } else if (at_ < rule_.size() && (is_digit(rule_[at_]) || rule_[at_] == '.')) {
      value = number();
    } else {
      value = name();
    }
    --depth_;
    return value;
  }

  static bool is_digit(char c) { return c >= '0' && c <= '9'; }
  static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || c == '_'; }

  double number() {
    double value = 0;
    const char* begin = rule_.data() + at_;
    const auto [end, failure] = std::from_chars(begin, rule_.data() + rule_.size(), value);
    if (failure != std::errc()) fail("expected a number");
    at_ += static_cast<size_t>(end - begin);
    constexpr std::array<std::pair<std::string_view, double>, 7> kUnits = {{{"KiB", 1024.0},
                                                                            {"MiB", 1048576.0},
                                                                            {"GiB", 1073741824.0},
                                                                            {"%", 0.01},
                                                                            {"k", 1e3},
                                                                            {"M", 1e6},
                                                                            {"G", 1e9}}};
    for (const auto& [unit, factor] : kUnits)
      if (take(unit)) return value * factor;
    return value;
  }

  std::string word() {
    skip();
    const size_t begin = at_;
    while (at_ < rule_.size() && is_letter(rule_[at_])) ++at_;
    return rule_.substr(begin, at_ - begin);
  }

  /// A figure's name, checked.
  std::string figure() {
    const size_t begin = at_;
    std::string name = word();
    const std::vector<std::string> known = known_names();
    if (std::ranges::find(known, name) == known.end()) {
      at_ = begin;
      const std::string hint = suggestion(name, known);
      fail("expected a figure" + (hint.empty() ? ", one of " + joined(known) : hint));
    }
    if (subject_.empty()) subject_ = name;
    return name;
  }

  double name() {
    const size_t begin = at_;
    const std::string first = word();
    if (first != "before" && first != "after") {
      at_ = begin;
      return value("", figure());
    }
    if (take(".")) return value(first, figure());
    if (first == "after" || subject_.empty()) fail("expected '" + first + ".' and a figure");
    return value(first, subject_);
  }

  double value(const std::string& side, const std::string& name) {
    const Candidate* candidate = side == "before" ? before_ : after_;
    const double x = candidate ? figure_of(*candidate, name, rule_) : 1;
    seen_[side.empty() ? name : side + "." + name] = x;
    return x;
  }

  const std::string& rule_;
  const Candidate* before_;
  const Candidate* after_;
  size_t at_ = 0;
  int depth_ = 0;
  std::string subject_;                 ///< The figure named first.
  std::map<std::string, double> seen_;  ///< What the rule looked at.
};

}  // namespace

void check_rule(const std::string& rule) { Reader(rule, nullptr, nullptr).read(); }

RuleOutcome apply_rule(const std::string& rule, const Candidate& before, const Candidate& after) {
  return Reader(rule, &before, &after).read();
}

}  // namespace pare
