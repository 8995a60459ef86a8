#include "cli/report_file.h"

#include "report/html.h"
#include "report/markdown.h"
#include "support/file.h"

namespace pare {
namespace {

void write_text(const std::string& path, const std::string& text) {
  write_file(path, [&](const auto& append) { append(std::as_bytes(std::span(text))); });
}

bool is_html(const std::string& path) { return path.ends_with(".html") || path.ends_with(".htm"); }

}  // namespace

void check_report(const std::string& path) {
  if (!path.ends_with(".json") && !path.ends_with(".md") && !is_html(path))
    throw Error(ErrorKind::kUsage,
                "--report " + path + ": expected a name that ends in .json, .html or .md");
}

void write_report(const std::string& path, const RunReport& report) {
  if (path.ends_with(".md")) return write_text(path, to_markdown(report));
  const std::string json = to_json(report);
  write_text(path, is_html(path) ? html_page("pare: " + report.model, json) : json);
}

void write_report(const std::string& path, const DiagnosisReport& report) {
  if (path.ends_with(".md")) return write_text(path, to_markdown(report));
  const std::string json = to_json(report);
  write_text(path, is_html(path) ? html_page("pare: " + report.quantized, json) : json);
}

void write_report(const std::string& path, const Candidate& a, const Candidate& b,
                  const std::vector<RuleOutcome>& rules) {
  if (path.ends_with(".md")) return write_text(path, to_markdown(a, b));
  const std::string json = to_json(a, b, rules);
  write_text(path, is_html(path) ? html_page("pare: " + a.name + " and " + b.name, json) : json);
}

}  // namespace pare
