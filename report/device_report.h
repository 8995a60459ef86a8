#pragma once

#include <string>

#include "cost/device_estimate.h"
#include "cost/device_profile.h"
#include "ir/graph.h"

namespace pare {

/// What a model is foreseen to do on a device.
struct DeviceReport {
  DeviceEstimate estimate;
  DeviceProfile profile;
};

/// For the terminal: the layers where `layers`, then frames per second, utilisation, and whether
/// `rate` frames per second can be reached.
std::string to_table(const Graph& graph, const DeviceReport& report, double rate, bool layers,
                     size_t width = 0);

}  // namespace pare
