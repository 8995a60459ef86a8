#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cost/precision.h"

namespace pare {

/// A device that runs networks, as far as its speed can be foreseen; data, read from YAML
/// (data/devices).
struct DeviceProfile {
  /// What one core multiplies in a cycle: for `pixels` places of `output_channels` filters the
  /// products of `input_channels` channels. Work that does not fill all three is padded.
  struct Array {
    Precision precision{.floating = false, .bits = 8};  ///< Widest operand it takes.
    int64_t pixels = 1, input_channels = 1, output_channels = 1;
    /// The same for depthwise convolutions, which use one input channel a filter; 0: by the array
    /// above.
    int64_t depthwise_pixels = 0, depthwise_channels = 0;
    double clock_hz = 0;

    int64_t macs_per_cycle() const { return pixels * input_channels * output_channels; }
  };

  std::string name;
  std::string source;  ///< Where the figures are from.
  int64_t cores = 1;   ///< Each works on a frame of its own.
  std::vector<Array> arrays;
  uint64_t buffer_bytes = 0;             ///< On-chip memory of a core.
  double dram_bytes_per_second = 0;      ///< Shared by the cores.
  std::string energy = "horowitz-45nm";  ///< Energy table: the built-in one, or a file.

  /// A profile of known_devices(), or the one of a YAML file: PATH where the file holds one,
  /// PATH:NAME where it holds more. Throws Error(kUsage) for a name nobody has and for what the
  /// file gets wrong.
  static DeviceProfile find(const std::string& name);

  /// Channel counts that leave no part of the first array idle are multiples of this.
  int64_t channel_multiple() const;
  /// The narrowest array that takes both operands; the first one where none does.
  const Array& array_for(Precision a, Precision b) const;
};

/// Names of the profiles the program holds, in the order of their files.
std::vector<std::string> known_devices();

}  // namespace pare
