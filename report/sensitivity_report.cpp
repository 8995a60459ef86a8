#include "report/sensitivity_report.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "report/json.h"
#include "support/text_table.h"

namespace pare {
namespace {

/// Shares of its channels a set keeps in the columns.
constexpr double kShares[] = {0.75, 0.5, 0.25};

}  // namespace

std::string sensitivity_table(const Graph& graph, const MeasuredFamilies& measured, size_t width) {
  TextTable table({{"set", TextTable::Align::kLeft, 40},
                   {"channels"},
                   {"loss at 75 %"},
                   {"at 50 %"},
                   {"at 25 %"}});
  for (size_t f = 0; f < measured.curves.size(); ++f) {
    const ErrorCurve& curve = measured.curves[f];
    const auto count = static_cast<double>(curve.family->groups.size());
    std::vector<std::string> row = {
        name_of(graph, *curve.family),
        std::to_string(static_cast<int64_t>(curve.family->groups.size()) * curve.family->width)};
    for (const double share : kShares) {
      const auto kept = static_cast<int64_t>(std::llround(share * count));
      row.push_back(kept >= curve.least ? digits(predicted_loss(curve, measured.losses[f], kept), 3)
                                        : "-");
    }
    table.add_row(std::move(row));
  }
  return table.str(width) + std::to_string(measured.curves.size()) +
         (measured.curves.size() == 1 ? " set" : " sets") +
         " measured; loss: of the outputs when only this set is pruned, see docs/passes/"
         "prune-channels.md\n";
}

std::string sensitivity_json(const Graph& graph, const MeasuredFamilies& measured) {
  Json sets = Json::array();
  for (size_t f = 0; f < measured.curves.size(); ++f) {
    const ErrorCurve& curve = measured.curves[f];
    const auto count = static_cast<int64_t>(curve.family->groups.size());
    Json losses = Json::array();
    for (int64_t kept = count; kept >= curve.least; --kept)
      losses.push_back({{"kept", kept * curve.family->width},
                        {"loss", predicted_loss(curve, measured.losses[f], kept)}});
    sets.push_back({{"name", name_of(graph, *curve.family)},
                    {"channels", count * curve.family->width},
                    {"losses", std::move(losses)}});
  }
  return to_text(Json{{"sets", std::move(sets)}});
}

}  // namespace pare
