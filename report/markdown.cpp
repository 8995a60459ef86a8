#include "report/markdown.h"

#include <vector>

#include "support/text_table.h"

namespace pare {
namespace {

/// Text in a cell: what would end the cell or start markup is escaped.
std::string cell(const std::string& text) {
  std::string result;
  for (const char c : printable(text)) {
    if (std::string_view("|\\`*_<>[]").find(c) != std::string_view::npos) result += '\\';
    result += c;
  }
  return result;
}

std::string row(const std::vector<std::string>& cells) {
  std::string text = "|";
  for (const std::string& content : cells) text += " " + content + " |";
  return text + "\n";
}

/// The first column to the left, figures to the right.
std::string head(const std::vector<std::string>& titles) {
  std::string rule = "|---|";
  for (size_t i = 1; i < titles.size(); ++i) rule += "---:|";
  return row(titles) + rule + "\n";
}

std::string figures_table(const std::string& left, const CostTotals& a, double rate_a,
                          const std::string& right, const CostTotals& b, double rate_b) {
  std::string text = head({"", cell(left), cell(right), "change"});
  for (const CostFigure& figure : cost_figures()) {
    const double x = figure.of(a, rate_a), y = figure.of(b, rate_b);
    text += row({figure.title, figure.print(x), figure.print(y), change(x, y)});
  }
  return text;
}

}  // namespace

std::string to_markdown(const RunReport& report) {
  std::string text =
      "# " + cell(report.model) + "\n\nMade into `" + printable(report.output) + "` by " +
      report.tool + " in " + human_seconds(report.seconds) + ".\n\n" +
      figures_table("before", report.before.totals, report.rate, "after", report.after.totals,
                    report.rate) +
      "\n" +
      head({"after", "GOP", "parameters", "weights", "energy", "agreement", "SQNR dB", "time"});
  for (const PassRecord& record : report.passes) {
    const CostTotals& totals = record.after.totals;
    text += row({record.pass, digits(totals.gop(), 4), with_commas(totals.parameters),
                 human_bytes(totals.weight_bytes), si(totals.joules(), "J"),
                 record.numerics ? digits(100 * record.numerics->agreement, 4) + " %" : "-",
                 record.numerics ? digits(record.numerics->sqnr_db, 3) : "-",
                 human_seconds(record.seconds)});
  }
  for (const std::string& warning : report.warnings) text += "\n- Warning: " + cell(warning);
  text += std::string(report.warnings.empty() ? "" : "\n") + "\nPower at " +
          digits(report.rate, 4) + " inferences/s; " + describe(report.cost) + ". SHA-256 of the " +
          "model: `" + report.model_sha256 + "`.\n\n````yaml\n" + report.pipeline_text;
  return text + (report.pipeline_text.ends_with('\n') ? "" : "\n") + "````\n";
}

std::string to_markdown(const Candidate& a, const Candidate& b) {
  constexpr size_t kMost = 100;
  std::string text = figures_table(a.name, a.totals, a.rate, b.name, b.totals, b.rate);
  const std::vector<ChangedLayer> layers = changed_layers(a, b);
  if (!layers.empty()) text += "\n" + head({"layers that differ", "MACs", "MACs", "change"});
  for (size_t i = 0; i < std::min(layers.size(), kMost); ++i) {
    const ChangedLayer& layer = layers[i];
    text += row({cell(layer.layer.name), layer.a ? with_commas(*layer.a) : "-",
                 layer.b ? with_commas(*layer.b) : "-",
                 layer.a && layer.b
                     ? change(static_cast<double>(*layer.a), static_cast<double>(*layer.b))
                     : "-"});
  }
  if (layers.size() > kMost)
    text += "\n" + std::to_string(layers.size() - kMost) + " layers more.\n";
  text += "\nEstimated with " + cell(a.estimate) + " at " + digits(a.rate, 4) + " inferences/s";
  if (b.estimate != a.estimate || b.rate != a.rate)
    text += " against " + cell(b.estimate) + " at " + digits(b.rate, 4) +
            " inferences/s: the energies are not comparable";
  return text + ".\n";
}

std::string to_markdown(const DiagnosisReport& report) {
  std::string text = "# " + cell(report.quantized) + " against " + cell(report.original) + "\n\n" +
                     head(diagnosis_titles());
  for (const LayerDiagnosis& layer : report.diagnosis.layers) {
    std::vector<std::string> cells = diagnosis_row(layer);
    cells[0] = cell(cells[0]);
    text += row(cells);
  }
  text += "\n" + cell(diagnosis_summary(report)) +
          "; *alone* is the original with only that layer quantized.\n";
  for (const std::string& name : report.diagnosis.unmatched)
    text += "\n- No partner in the original: " + cell(name) + "\n";
  return text;
}

}  // namespace pare
