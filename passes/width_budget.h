#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "passes/pass.h"

namespace pare {

/// What the widths of weights are to keep within.
struct WidthBudget {
  enum class Measure : uint8_t {
    kAverageBits,  ///< Of the weights that have a choice.
    kBytes,        ///< Of all weights and biases.
    kJoules,       ///< An inference, by the cost model.
    kWatts,        ///< At PassContext::rate.
  };
  Measure measure = Measure::kAverageBits;
  double amount = 5;  ///< Absolute, or the share to remove in (0, 1) when `relative`.
  bool relative = false;

  /// Reads "-60%", and "1.2M" for bytes, "0.2mJ", "30uJ" or "3W". Throws Error(kUsage) for text
  /// that is no such thing.
  static WidthBudget parse(Measure measure, const std::string& text);
  /// What may be left of `before`.
  double target(double before) const { return relative ? (1 - amount) * before : amount; }
};

/// "4.5 bits a weight", "1.2 MB", "0.2 mJ", "3 W".
std::string quantity(WidthBudget::Measure measure, double amount);

/// What a network costs with each layer's weights at a width of its own.
class WidthCosts {
 public:
  /// A layer that has a choice.
  struct Layer {
    NodeId node;
    double weights = 0;  ///< Elements.
  };

  /// `bits` are the widths, descending; `at` holds by width the quantized network with all layers
  /// at it (the average needs none). `context` must outlive this.
  WidthCosts(WidthBudget::Measure measure, std::vector<int> bits, std::vector<Graph> at,
             std::vector<Layer> layers, const PassContext& context);

  /// With each layer at the width of that index.
  double of(const std::vector<size_t>& widths) const;
  /// Of a network as it is; for an average, which says nothing of one, the widest width.
  double of(const Graph& graph) const;
  /// With all layers at the widest.
  double most() const { return of(std::vector<size_t>(layers_.size(), 0)); }

  /// The widths with the least sum of `losses` (by layer and width) that cost at most `target`; the
  /// narrowest where none do. A knapsack on what each layer alone saves; what the network as a
  /// whole costs (weights that fit the on-chip buffer) is bisected for.
  std::vector<size_t> choose(const std::vector<std::vector<double>>& losses, double target) const;

 private:
  Graph mix(const std::vector<size_t>& widths) const;

  WidthBudget::Measure measure_;
  std::vector<int> bits_;
  std::vector<Graph> at_;
  std::vector<Layer> layers_;
  const PassContext& context_;
};

}  // namespace pare
