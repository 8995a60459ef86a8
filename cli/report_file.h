#pragma once

#include <string>

#include "report/comparison.h"
#include "report/diagnosis_report.h"
#include "report/run_report.h"

namespace pare {

/// Throws Error(kUsage) unless `path` says by its ending what to write: .json, .html or .md.
void check_report(const std::string& path);

/// Writes the report in the form its name asks for.
void write_report(const std::string& path, const RunReport& report);
void write_report(const std::string& path, const DiagnosisReport& report);
void write_report(const std::string& path, const Candidate& a, const Candidate& b,
                  const std::vector<RuleOutcome>& rules);

}  // namespace pare
