#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace pare {

/// What was measured of one family of channels (prune_channels_curves.h, _sensitivity.h).
struct FamilyMeasurement {
  std::string name;            ///< Of its first producer's output, which is unique in a graph.
  int64_t groups = 0;          ///< That the family has.
  int64_t least = 1;           ///< Groups kept at the least.
  std::vector<int64_t> order;  ///< Positions in Family::groups, first removed first.
  std::vector<double> error;   ///< By groups kept, from 0 to all.
  std::vector<int64_t> kept;   ///< Numbers of groups at which the loss was measured, descending.
  std::vector<double> losses;  ///< By `kept`.
  bool operator==(const FamilyMeasurement&) const = default;
};

/// What decides a measurement: which network, which samples, which settings.
struct MeasurementKey {
  std::string model;  ///< SHA-256 of the graph and its weights.
  std::string data;   ///< SHA-256 of the samples as the network sees them.
  int64_t samples = 0, positions = 0;
  double ridge = 0;
  bool operator==(const MeasurementKey&) const = default;
};

struct MeasurementSection {
  MeasurementKey key;
  std::vector<FamilyMeasurement> families;  ///< By name.

  /// Null when it was not measured.
  const FamilyMeasurement* find(const std::string& name) const;
  /// Puts a measurement in, in place of one of that name.
  void put(FamilyMeasurement measurement);
};

/// A sensitivity database: measurements of any number of networks, kept between runs.
struct SensitivityFile {
  std::vector<MeasurementSection> sections;  ///< One a key.

  /// Reads JSON of write(). Throws Error(kInput) naming file and fact for anything else.
  static SensitivityFile read(const std::string& path);
  /// Replaces the file whole or not at all.
  void write(const std::string& path) const;
  MeasurementSection& section(const MeasurementKey& key);
  /// Takes over what `other` has; of families in both, those of `other`.
  void merge(const SensitivityFile& other);
};

}  // namespace pare
