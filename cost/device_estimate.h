#pragma once

#include <cstdint>
#include <vector>

#include "cost/cost.h"
#include "cost/device_profile.h"
#include "ir/graph.h"

namespace pare {

/// A layer with MACs on one core of a device.
struct DeviceLayer {
  NodeId node;
  uint64_t macs = 0;
  /// Cycles of the array: places, input channels and output channels each rounded up to what it
  /// takes at a time.
  uint64_t cycles = 0;
  double array_seconds = 0;
  double dram_seconds = 0;  ///< The layer's traffic at the core's share of the bandwidth.
  double padding = 0;       ///< Share of the products the array forms that are padding.
  /// Its form says nothing about places and channels (recurrent layers, attention): taken as if it
  /// filled the array.
  bool formless = false;

  double seconds() const { return array_seconds > dram_seconds ? array_seconds : dram_seconds; }
};

/// What a device can do at best: traffic overlaps arithmetic, cores wait for nothing else, and what
/// is no MAC is free.
struct DeviceEstimate {
  double frames_per_second = 0;
  double utilisation = 0;  ///< MACs of the model by what the arrays could do in that time.
  double padding = 0;      ///< Share of all products formed that are padding.
  double dram_share = 0;   ///< Of the time, spent waiting for DRAM.
  uint64_t dram_bytes = 0;
  std::vector<DeviceLayer> layers;  ///< In execution order.
};

/// Cycles of a layer >= ceil(places / pixels) ceil(inputs / input_channels)
/// ceil(outputs / output_channels) * kernel elements, for each group. Layers of floats on a device
/// that has no array for them are taken as if quantized.
DeviceEstimate estimate_device(const Graph& graph, const DeviceProfile& device);

}  // namespace pare
