#pragma once

#include <span>
#include <string>

#include "cost/cost.h"

namespace pare {

/// One line of a table of totals: its key in JSON, its title, how it is read and printed.
struct CostFigure {
  const char* key;
  const char* title;
  double (*of)(const CostTotals& totals, double rate);
  std::string (*print)(double);
};

/// MACs, GOP, ..., energy and power, in the order every table has them.
std::span<const CostFigure> cost_figures();

}  // namespace pare
