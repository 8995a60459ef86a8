#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "ir/graph.h"

namespace pare {

using Numbers = std::vector<double>;

/// A Conv, ConvTranspose or Gemm whose weights and bias (one number per output channel, or none)
/// are constants of float32 or float64, so that its channels can be scaled and shifted.
struct ChannelWeights {
  NodeId node;
  int64_t inputs = 0, outputs = 0;  ///< Channels.

  static std::optional<ChannelWeights> of(const Graph& graph, NodeId id);

  Numbers weights(const Graph& graph) const;
  /// What is added to every output channel in the end.
  Numbers bias(const Graph& graph) const;
  /// Stores both (a bias of zeros only where there is a place for it); constants that others use
  /// too are copied first.
  void set(Graph& graph, const Numbers& weights, const Numbers& bias) const;
};

/// True for a float32 or float64 tensor; false for null.
bool is_wide_float(const Tensor* tensor);

/// The number of each channel, when `constant` holds one per channel or one for all, broadcast
/// against `shape` without enlarging it.
std::optional<Numbers> per_channel(const Tensor& constant, const Shape& shape);

/// A Gemm that reads its operand as it is, or a Conv that adds no zeros around it: what is added to
/// every element of the operand then comes out as a number per output channel.
bool is_unpadded(const Node& node);

/// Calls `body(index, input, output)` with the channels of every weight, in storage order. `node`
/// is a Conv, ConvTranspose or Gemm with weights of shape `w`.
template <typename Body>
void for_each_weight(const Node& node, const Shape& w, const Body& body) {
  const int64_t group = node.op == "Gemm" ? 1 : node.attribute("group", int64_t{1});
  const bool output_first =
      node.op == "Gemm" ? node.attribute("transB", int64_t{0}) != 0 : node.op == "Conv";
  int64_t inner = 1;
  for (size_t axis = 2; axis < w.size(); ++axis) inner *= w[axis];
  const int64_t per_group = w[0] / group;  // Channels of axis 0 in one group.
  size_t i = 0;
  for (int64_t a = 0; a < w[0]; ++a) {
    for (int64_t b = 0; b < w[1]; ++b) {
      const int64_t other = (a / std::max<int64_t>(per_group, 1)) * w[1] + b;
      const auto input = static_cast<size_t>(output_first ? other : a);
      const auto output = static_cast<size_t>(output_first ? a : other);
      for (int64_t k = 0; k < inner; ++k) body(i++, input, output);
    }
  }
}

}  // namespace pare
