#include "report/diagnosis_report.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "report/json.h"
#include "support/text_table.h"

namespace pare {
namespace {

Json outputs_json(const Comparison& c) {
  return {{"agreement", c.agreement},
          {"kl", c.kl},
          {"sqnr_db", c.sqnr_db},
          {"cosine", c.cosine},
          {"max_abs_error", c.max_abs_error}};
}

Json layer_json(const LayerDiagnosis& layer) {
  return {{"name", layer.name},
          {"op", layer.op},
          {"macs", layer.macs},
          {"weight_bits", layer.weight_bits},
          {"alone", outputs_json(layer.alone)},
          {"result", error_json(layer.result)},
          {"weight_sqnr_db", layer.weights.sqnr_db},
          {"weights", to_json(layer.weights.before)},
          {"activations", to_json(layer.result.before)},
          {"weights_quantized", to_json(layer.weights.after)},
          {"activations_quantized", to_json(layer.result.after)}};
}

/// The first few names, and why there may be many.
std::string unmatched_lines(const std::vector<std::string>& names) {
  constexpr size_t kMost = 5;
  if (names.empty()) return {};
  std::string text = "no partner in the original: ";
  for (size_t i = 0; i < std::min(names.size(), kMost); ++i)
    text += (i > 0 ? ", " : "") + printable(names[i]);
  if (names.size() > kMost) text += " and " + std::to_string(names.size() - kMost) + " more";
  return text +
         "\n(a layer that lost channels has its partner in the pruned network before it was "
         "quantized)\n";
}

}  // namespace

std::string to_json(const DiagnosisReport& report) {
  Json layers = Json::array();
  for (const LayerDiagnosis& layer : report.diagnosis.layers) layers.push_back(layer_json(layer));
  return to_text(Json{{"tool", report.tool},
                      {"original", report.original},
                      {"quantized", report.quantized},
                      {"outputs", outputs_json(report.diagnosis.outputs)},
                      {"unmatched", report.diagnosis.unmatched},
                      {"layers", std::move(layers)}});
}

std::string diagnosis_summary(const DiagnosisReport& report) {
  const Comparison& outputs = report.diagnosis.outputs;
  return "whole network: KL " + digits(outputs.kl, 3) + ", SQNR " + digits(outputs.sqnr_db, 3) +
         " dB, agreement " + digits(100 * outputs.agreement, 4) + " %";
}

std::vector<std::string> diagnosis_titles() {
  return {"layer",     "op",     "bits",          "KL alone",        "SQNR alone [dB]",
          "SQNR [dB]", "cosine", "largest error", "weight SQNR [dB]"};
}

std::vector<std::string> diagnosis_row(const LayerDiagnosis& layer) {
  return {layer.name,
          layer.op,
          std::to_string(layer.weight_bits),
          digits(layer.alone.kl, 3),
          digits(layer.alone.sqnr_db, 3),
          digits(layer.result.sqnr_db, 3),
          digits(layer.result.cosine, 5),
          digits(layer.result.max_abs_error, 3),
          digits(layer.weights.sqnr_db, 3)};
}

std::string to_table(const DiagnosisReport& report, size_t width) {
  using enum TextTable::Align;
  constexpr size_t kNameWidth = 40, kWords = 2;
  std::vector<TextTable::Column> columns;
  for (const std::string& title : diagnosis_titles())
    columns.push_back({title, columns.size() < kWords ? kLeft : kRight, kNameWidth});
  TextTable table(std::move(columns));
  for (const LayerDiagnosis& layer : report.diagnosis.layers) table.add_row(diagnosis_row(layer));
  std::string text = table.str(width) + "\n" + diagnosis_summary(report) + "\n";
  return text + unmatched_lines(report.diagnosis.unmatched);
}

}  // namespace pare
