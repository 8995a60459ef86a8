#pragma once

#include <string>

#include "report/comparison.h"
#include "report/diagnosis_report.h"
#include "report/run_report.h"

namespace pare {

/// For a pull request: totals before and after, the passes, the pipeline.
std::string to_markdown(const RunReport& report);
/// Totals side by side, then the layers that differ (the first hundred).
std::string to_markdown(const Candidate& a, const Candidate& b);

/// Which layers of a quantized network do most harm.
std::string to_markdown(const DiagnosisReport& report);

}  // namespace pare
