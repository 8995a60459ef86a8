#pragma once

#include <string>

#include "passes/prune_channels_curves.h"
#include "passes/sensitivity_file.h"

namespace pare {

/// Keeps what is measured of a network in a sensitivity database, as it is measured, and gives back
/// what is known from earlier runs or other processes.
class MeasurementStore {
 public:
  /// Reads `path` where it exists. The digests take the weights and every sample once. Throws
  /// Error(kInput) for a file that is no sensitivity database, Error(kUsage) where none can be
  /// written.
  MeasurementStore(std::string path, const Graph& graph, const ReconstructOptions& options,
                   const PassContext& context);

  /// The curve (without weights) and the losses of a family; nothing when they are not known down
  /// to `least` groups.
  struct Known {
    ErrorCurve curve;
    std::vector<double> losses;
  };
  std::optional<Known> find(const Graph& graph, const Family& family, int64_t least) const;
  /// Takes a measurement in and writes the file.
  void keep(const Graph& graph, const ErrorCurve& curve, const std::vector<double>& losses);

 private:
  std::string path_;
  SensitivityFile file_;
  MeasurementKey key_;
};

}  // namespace pare
