#pragma once

#include <string>
#include <vector>

#include "passes/diagnose_layers.h"

namespace pare {

/// What `pare diagnose` found out.
struct DiagnosisReport {
  std::string tool;                 ///< "pare 0.1.0"
  std::string original, quantized;  ///< Files, as the user named them.
  Diagnosis diagnosis;
};

/// For the terminal, at most `width` characters wide: the layers, the one that does most harm
/// first, then the whole network.
std::string to_table(const DiagnosisReport& report, size_t width = 0);
/// {original, quantized, outputs, unmatched, layers: [{name, op, alone, result, weights, ...}]};
/// docs/cli.md names every key.
std::string to_json(const DiagnosisReport& report);

/// "whole network: KL 0.001, ...", and the columns of a table of layers.
std::string diagnosis_summary(const DiagnosisReport& report);
std::vector<std::string> diagnosis_titles();
std::vector<std::string> diagnosis_row(const LayerDiagnosis& layer);

}  // namespace pare
