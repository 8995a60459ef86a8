#include "report/figures.h"

#include <array>

#include "support/text_table.h"

namespace pare {
namespace {

std::string print_count(double x) { return with_commas(static_cast<uint64_t>(x)); }
std::string print_bytes(double x) { return human_bytes(static_cast<uint64_t>(x)); }

constexpr std::array<CostFigure, 9> kFigures = {{
    {"macs", "MACs", [](const CostTotals& t, double) { return static_cast<double>(t.macs); },
     print_count},
    {"gop", "GOP (2 per MAC)", [](const CostTotals& t, double) { return t.gop(); },
     [](double x) { return digits(x, 4); }},
    {"other_ops", "other operations",
     [](const CostTotals& t, double) { return static_cast<double>(t.other_ops); }, print_count},
    {"parameters", "parameters",
     [](const CostTotals& t, double) { return static_cast<double>(t.parameters); }, print_count},
    {"weight_bytes", "weights",
     [](const CostTotals& t, double) { return static_cast<double>(t.weight_bytes); }, print_bytes},
    {"activation_bytes", "activations moved",
     [](const CostTotals& t, double) { return static_cast<double>(t.activation_bytes); },
     print_bytes},
    {"dram_bytes", "DRAM traffic",
     [](const CostTotals& t, double) { return static_cast<double>(t.dram_bytes); }, print_bytes},
    {"energy_joules", "energy per inference",
     [](const CostTotals& t, double) { return t.joules(); }, [](double x) { return si(x, "J"); }},
    {"power_watts", "power", [](const CostTotals& t, double rate) { return t.watts(rate); },
     [](double x) { return si(x, "W"); }},
}};

}  // namespace

std::span<const CostFigure> cost_figures() { return kFigures; }

}  // namespace pare
