#pragma once

#include <onnx/onnx_pb.h>

#include "ir/graph.h"

namespace pare {

/// A node as the file says it. One that came from a file starts from its own NodeProto, and only
/// what differs is changed, so an untouched node is byte for byte what it was.
onnx::NodeProto node_proto(const Graph& graph, const Node& node);

}  // namespace pare
