#include "report/device_report.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "report/json.h"
#include "report/model_report.h"
#include "support/text_table.h"

namespace pare {
namespace {

using Align = TextTable::Align;

constexpr size_t kNameWidth = 40;

std::string percent(double share) { return digits(100 * share, 3) + " %"; }

std::string layer_table(const Graph& graph, const DeviceReport& report, size_t width) {
  TextTable table({{"layer", Align::kLeft, kNameWidth},
                   {"op", Align::kLeft},
                   {"MACs"},
                   {"cycles"},
                   {"time"},
                   {"waits for", Align::kLeft},
                   {"padding"}});
  for (const DeviceLayer& layer : report.estimate.layers) {
    const Node& node = graph.node(layer.node);
    table.add_row({layer_name(graph, node), node.op, with_commas(layer.macs),
                   with_commas(layer.cycles), si(layer.seconds(), "s"),
                   layer.dram_seconds > layer.array_seconds ? "DRAM" : "array",
                   layer.formless ? "?" : percent(layer.padding)});
  }
  return table.str(width) + "\n";
}

std::string parallelism(const DeviceProfile& device) {
  const DeviceProfile::Array& array = device.arrays[0];
  return std::to_string(device.cores) + (device.cores == 1 ? " core of " : " cores of ") +
         std::to_string(array.pixels) + " x " + std::to_string(array.input_channels) + " x " +
         std::to_string(array.output_channels) + " " + to_string(array.precision) +
         " MAC a cycle at " + digits(array.clock_hz / 1e6, 4) + " MHz, " +
         human_bytes(device.buffer_bytes) + " on chip, DRAM at " +
         digits(device.dram_bytes_per_second / 1e9, 3) + " GB/s";
}

}  // namespace

std::string to_table(const Graph& graph, const DeviceReport& report, double rate, bool layers,
                     size_t width) {
  const DeviceEstimate& estimate = report.estimate;
  std::string text = layers ? layer_table(graph, report, width) : "";
  TextTable table({{"on " + report.profile.name, Align::kLeft}, {""}});
  table.add_row({"frames/s, at most", digits(estimate.frames_per_second, 4)});
  table.add_row({"utilisation of the arrays", percent(estimate.utilisation)});
  table.add_row({"products that are padding", percent(estimate.padding)});
  table.add_row({"time spent waiting for DRAM", percent(estimate.dram_share)});
  table.add_row({"DRAM traffic per frame", human_bytes(estimate.dram_bytes)});
  text += table.str(width);
  const double share = rate / estimate.frames_per_second;
  text += digits(rate, 4) + " frames/s " +
          (share <= 1 ? "can be reached, busy " + percent(share) + " of the time"
                      : "cannot be reached, it would take " + digits(share, 3) + " of it") +
          "\n";
  const auto formless = std::ranges::count_if(estimate.layers, &DeviceLayer::formless);
  if (formless > 0)
    text += std::to_string(formless) +
            " layers say nothing about places and channels and are taken as filling the array\n";
  return text + parallelism(report.profile) + "\n";
}

Json to_json(const Graph& graph, const DeviceReport& report, double rate) {
  const DeviceEstimate& estimate = report.estimate;
  Json layers = Json::array();
  for (const DeviceLayer& layer : estimate.layers)
    layers.push_back({{"name", layer_name(graph, graph.node(layer.node))},
                      {"macs", layer.macs},
                      {"cycles", layer.cycles},
                      {"array_seconds", layer.array_seconds},
                      {"dram_seconds", layer.dram_seconds},
                      {"padding", layer.formless ? Json(nullptr) : Json(layer.padding)}});
  return {{"name", report.profile.name},
          {"source", report.profile.source},
          {"frames_per_second", estimate.frames_per_second},
          {"reaches_rate", estimate.frames_per_second >= rate},
          {"utilisation", estimate.utilisation},
          {"padding", estimate.padding},
          {"dram_share", estimate.dram_share},
          {"dram_bytes", estimate.dram_bytes},
          {"layers", std::move(layers)}};
}

}  // namespace pare
