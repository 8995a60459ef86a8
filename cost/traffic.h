#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "cost/storage.h"
#include "ir/graph.h"

namespace pare {

/// Which activation buffers a node reads and writes; empty for one that moves nothing.
struct NodeBuffers {
  std::vector<uint32_t> reads, writes;  ///< Storage::buffer(), each once, ascending.
};

/// Activations of a graph over the time of one inference. Time is the position in execution order.
struct ActivationTraffic {
  std::vector<NodeBuffers> nodes;   ///< By position in Graph::order().
  std::vector<uint64_t> bytes;      ///< By buffer; 0 where the shape is not known.
  std::vector<uint64_t> live;       ///< By position: bytes of all activations alive.
  std::vector<size_t> first, last;  ///< By buffer: positions it is alive at; first > last: never.
  std::vector<bool> external;       ///< By buffer: a graph input or output, always in DRAM.

  /// By buffer: true for one that must live in DRAM when the chip holds `room` bytes.
  std::vector<bool> spilled(uint64_t room) const;
};

/// `bits` gives the width a type is held at.
ActivationTraffic activation_traffic(const Graph& graph, const Storage& storage,
                                     const std::function<uint64_t(DType)>& bits);

}  // namespace pare
