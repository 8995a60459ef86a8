#include "cost/traffic.h"

#include <algorithm>
#include <limits>

namespace pare {
namespace {

constexpr size_t kNever = std::numeric_limits<size_t>::max();

void sort_unique(std::vector<uint32_t>& list) {
  std::ranges::sort(list);
  list.erase(std::unique(list.begin(), list.end()), list.end());
}

NodeBuffers buffers_of(const Graph& graph, const Storage& storage, NodeId id) {
  NodeBuffers buffers;
  if (storage.free(id) || storage.fused(id)) return buffers;
  const Node& node = graph.node(id);
  // An op that asks for shapes only (Shape, Size) moves nothing.
  if (node.def && node.def->reads_only_types) return buffers;
  for (ValueId input : node.inputs) {
    if (input == kNoValue || storage.constant(input)) continue;
    buffers.reads.push_back(storage.buffer(storage.source(id, input)));
  }
  for (ValueId output : node.outputs)
    if (output != kNoValue) buffers.writes.push_back(storage.buffer(output));
  sort_unique(buffers.reads);
  sort_unique(buffers.writes);
  return buffers;
}

}  // namespace

std::vector<bool> ActivationTraffic::spilled(uint64_t room) const {
  std::vector<size_t> crowded(live.size() + 1, 0);  // Positions before this one over `room`.
  for (size_t i = 0; i < live.size(); ++i) crowded[i + 1] = crowded[i] + (live[i] > room ? 1 : 0);
  std::vector<bool> result = external;
  for (size_t buffer = 0; buffer < bytes.size(); ++buffer) {
    if (first[buffer] > last[buffer]) continue;
    if (crowded[last[buffer] + 1] > crowded[first[buffer]]) result[buffer] = true;
  }
  return result;
}

ActivationTraffic activation_traffic(const Graph& graph, const Storage& storage,
                                     const std::function<uint64_t(DType)>& bits) {
  const size_t values = graph.value_count(), steps = graph.order().size();
  ActivationTraffic traffic{.bytes = std::vector<uint64_t>(values),
                            .first = std::vector<size_t>(values, kNever),
                            .last = std::vector<size_t>(values, 0),
                            .external = std::vector<bool>(values)};
  for (uint32_t i = 0; i < values; ++i) {
    const TensorType& type = graph.type(ValueId{i});
    if (!type.known()) continue;
    const auto count = static_cast<uint64_t>(element_count(type.shape));
    uint64_t& bytes = traffic.bytes[storage.buffer(ValueId{i})];
    bytes = std::max(bytes, (count * bits(storage.dtype(ValueId{i})) + 7) / 8);
  }
  const auto touch = [&](uint32_t buffer, size_t step) {
    traffic.first[buffer] = std::min(traffic.first[buffer], step);
    traffic.last[buffer] = std::max(traffic.last[buffer], step);
  };
  for (size_t step = 0; step < steps; ++step) {
    traffic.nodes.push_back(buffers_of(graph, storage, graph.order()[step]));
    for (uint32_t buffer : traffic.nodes.back().reads) touch(buffer, step);
    for (uint32_t buffer : traffic.nodes.back().writes) touch(buffer, step);
  }
  for (const auto* interface : {&graph.inputs(), &graph.outputs()})
    for (ValueId id : *interface) {
      traffic.external[storage.buffer(id)] = true;
      if (steps > 0) touch(storage.buffer(id), interface == &graph.inputs() ? 0 : steps - 1);
    }
  // Sum by differences: what begins at a step and what has ended before it.
  std::vector<uint64_t> begins(steps + 1, 0), ends(steps + 1, 0);
  for (size_t buffer = 0; buffer < values; ++buffer) {
    if (traffic.first[buffer] > traffic.last[buffer]) continue;
    begins[traffic.first[buffer]] += traffic.bytes[buffer];
    ends[traffic.last[buffer] + 1] += traffic.bytes[buffer];
  }
  uint64_t alive = 0;
  for (size_t step = 0; step < steps; ++step) {
    alive += begins[step] - ends[step];
    traffic.live.push_back(alive);
  }
  return traffic;
}

}  // namespace pare
