#pragma once

#include <string>
#include <vector>

#include "report/comparison.h"

namespace pare {

/// Throws Error(kUsage) naming the place in `rule` unless it is one:
///
///     rule    = sum ("<" | "<=" | ">" | ">=" | "==" | "!=") sum
///     sum     = product { ("+" | "-") product }
///     product = factor { ("*" | "/") factor }
///     factor  = number [ "%" | "k" | "M" | "G" | "KiB" | "MiB" | "GiB" ] | "-" factor
///             | "(" sum ")" | figure | "before" | ("before" | "after") "." figure
///
/// A figure is a key of `totals` (gop, weight_bytes, ...) or, of a report of a run on data,
/// agreement, kl, sqnr_db or cosine. Alone it is of the second side; `before` alone is the first
/// side's of the figure the rule names first.
void check_rule(const std::string& rule);

/// Whether `rule` holds for a comparison. Throws besides Error(kInput) where a side lacks a figure.
RuleOutcome apply_rule(const std::string& rule, const Candidate& before, const Candidate& after);

}  // namespace pare
