#include "report/sensitivity_report.h"

#include <cmath>

#include "support/text_table.h"

namespace pare {
namespace {

/// Shares of its channels a set keeps in the columns.
constexpr double kShares[] = {0.75, 0.5, 0.25};

}  // namespace

std::string sensitivity_table(const Graph& graph, const MeasuredFamilies& measured) {
  TextTable table({{"set", TextTable::Align::kLeft, 40},
                   {"channels"},
                   {"loss at 75 %"},
                   {"at 50 %"},
                   {"at 25 %"}});
  for (size_t f = 0; f < measured.curves.size(); ++f) {
    const Curve& curve = measured.curves[f];
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
  return table.str() + std::to_string(measured.curves.size()) +
         (measured.curves.size() == 1 ? " set" : " sets") +
         " measured; loss: of the outputs when only this set is pruned, see docs/passes/"
         "prune-channels.md\n";
}

}  // namespace pare
