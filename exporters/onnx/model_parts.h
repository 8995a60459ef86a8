#pragma once

#include <onnx/onnx_pb.h>

#include "exporters/onnx/weights.h"
#include "ir/graph.h"

namespace pare {

/// A model cut where the initializers go, in the order of the file: model_head, then as its `graph`
/// field graph_head, weights, graph_tail, then model_tail.
struct ModelParts {
  onnx::ModelProto model_head;
  onnx::GraphProto graph_head;
  Weights weights;
  onnx::GraphProto graph_tail;
  onnx::ModelProto model_tail;

  uint64_t graph_size() const;
  uint64_t size() const;
  void write(google::protobuf::io::CodedOutputStream& out) const;
};

ModelParts model_parts(const Graph& graph);

}  // namespace pare
